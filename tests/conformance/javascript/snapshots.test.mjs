// Snapshots as templates by the official JavaScript client (contract rest-api §9.1–§9.3).
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Sandbox } from 'e2b'

test('a sandbox made of a snapshot goes on where it was taken', async () => {
  const origin = await Sandbox.create({ timeoutMs: 120_000 })
  let copy
  let snapshotId
  try {
    const sleeper = await origin.commands.run('sleep 1000', { background: true })
    await origin.files.write('/home/user/name', 'origin')
    snapshotId = (await origin.createSnapshot({ name: 'js-state' })).snapshotId
    await origin.files.write('/home/user/name', 'changed since')
    copy = await Sandbox.create(snapshotId, { timeoutMs: 120_000 })
    assert.notEqual(copy.sandboxId, origin.sandboxId)
    assert.equal(await copy.files.read('/home/user/name'), 'origin')
    assert.ok((await copy.commands.list()).some((process) => process.pid === sleeper.pid))
    const listed = await origin.listSnapshots().nextItems()
    assert.deepEqual(listed.map((snapshot) => snapshot.snapshotId), [snapshotId])
    await assert.rejects(Sandbox.deleteSnapshot(snapshotId))
  } finally {
    await copy?.kill()
    await origin.kill()
    if (snapshotId) assert.equal(await Sandbox.deleteSnapshot(snapshotId), true)
  }
  await assert.rejects(Sandbox.create(snapshotId), /not found/)
})
