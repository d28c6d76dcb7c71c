import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, before, test } from 'node:test'

import { Sandbox, Volume } from 'e2b'

process.env.E2B_VOLUME_API_URL ??= process.env.E2B_API_URL

const shared = {}
before(async () => {
  shared.volume = await Volume.create(`js-${randomUUID().slice(0, 8)}`)
})
after(async () => {
  await Volume.destroy(shared.volume.volumeId)
})

test('a volume is listed, found, and its name taken', async () => {
  const { volumeId, name } = shared.volume
  assert.ok((await Volume.list()).some((volume) => volume.volumeId === volumeId))
  assert.equal((await Volume.getInfo(volumeId)).name, name)
  assert.equal((await Volume.connect(volumeId)).name, name)
  await assert.rejects(Volume.create(name), /already exists/)
  const other = await Volume.create(`${name}-2`)
  assert.equal(await Volume.destroy(other.volumeId), true)
  assert.equal(await Volume.destroy(other.volumeId), false)
})

test('files and directories of a volume', async () => {
  const { volume } = shared
  assert.equal((await volume.makeDir('/a/b', { force: true })).type, 'directory')
  const written = await volume.writeFile('/a/b/text', 'hello', { mode: 0o640, uid: 1000 })
  assert.deepEqual([written.size, written.mode & 0o7777, written.uid, written.gid], [5, 0o640, 1000, 9090])
  assert.equal(await volume.readFile('/a/b/text'), 'hello')
  assert.equal((await volume.readFile('/a/b/text', { format: 'bytes' })).length, 5)
  assert.deepEqual((await volume.list('/', { depth: 3 })).map((entry) => entry.path), ['/a', '/a/b', '/a/b/text'])
  assert.equal((await volume.updateMetadata('/a/b/text', { mode: 0o600 })).mode & 0o7777, 0o600)
  assert.equal(await volume.exists('/a/none'), false)
  await assert.rejects(volume.readFile('/a/none'), { name: /NotFound/ })
  await volume.remove('/a')
  assert.deepEqual(await volume.list('/'), [])
})

test('a stream of bytes comes back as it went', async () => {
  const bytes = new Uint8Array(20 * 1024 * 1024).map((_, index) => index % 251)
  const stream = new Blob([bytes]).stream()
  assert.equal((await shared.volume.writeFile('/big', stream)).size, bytes.length)
  assert.deepEqual(Buffer.from(await shared.volume.readFile('/big', { format: 'bytes' })), Buffer.from(bytes))
  await shared.volume.remove('/big')
})

test('sandboxes share a volume and leave their files there', async () => {
  const { volume } = shared
  const mounts = { volumeMounts: { '/data': volume }, timeoutMs: 60_000 }
  const [one, two] = await Promise.all([Sandbox.create(mounts), Sandbox.create(mounts)])
  await one.commands.run('echo from one > /data/file')
  assert.equal((await two.commands.run('cat /data/file')).stdout, 'from one\n')
  assert.deepEqual((await one.getInfo()).volumeMounts, [{ name: volume.name, path: '/data' }])
  await Promise.all([one.kill(), two.kill()])
  assert.equal(await volume.readFile('/file'), 'from one\n')
})
