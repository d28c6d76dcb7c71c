import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'

import { AuthenticationError, NotFoundError, Sandbox, SandboxError, SandboxNotFoundError, TimeoutError } from 'e2b'

import { waitUntil } from './support.mjs'

async function withSandbox(options, use) {
  const sandbox = await Sandbox.create({ timeoutMs: 120_000, ...options })
  try {
    await use(sandbox)
  } finally {
    await sandbox.kill()
  }
}

test('create, info and metadata', async () => {
  const metadata = { kind: 'js', 'spaced key': 'ü & = +%' }
  await withSandbox({ metadata, envs: { GREETING: 'hello' } }, async (sandbox) => {
    const info = await sandbox.getInfo()
    assert.equal(info.sandboxId, sandbox.sandboxId)
    assert.equal(info.name, 'base')
    assert.equal(info.state, 'running')
    assert.deepEqual(info.metadata, metadata)
    assert.ok(Math.abs(info.endAt - info.startedAt - 120_000) < 1_000)
    assert.equal((await sandbox.commands.run('echo $GREETING')).stdout, 'hello\n')
  })
})

test('list with filter, order and pages', async () => {
  const mark = randomUUID()
  const made = []
  try {
    for (let index = 0; index < 3; index++) made.push(await Sandbox.create({ metadata: { mark, index: `${index}` } }))
    const collect = async (options) => {
      const paginator = Sandbox.list(options)
      const found = []
      while (paginator.hasNext) found.push(...(await paginator.nextItems()))
      return found.map(({ sandboxId }) => sandboxId)
    }
    const ids = made.map(({ sandboxId }) => sandboxId)
    assert.deepEqual(await collect({ query: { metadata: { mark } }, limit: 2 }), ids.toReversed())
    assert.deepEqual(await collect({ query: { metadata: { mark }, state: ['running'] }, order: 'asc', limit: 1 }), ids)
    assert.deepEqual(await collect({ query: { metadata: { mark, index: '1' } } }), [ids[1]])
    assert.deepEqual(await collect({ query: { metadata: { mark }, state: ['paused'] } }), [])
  } finally {
    await Promise.all(made.map((sandbox) => sandbox.kill()))
  }
})

test('connect gives the same sandbox, extends and never shortens', async () => {
  await withSandbox({}, async (sandbox) => {
    await sandbox.files.write('mark', 'mine')
    const end = (await sandbox.getInfo()).endAt
    const again = await Sandbox.connect(sandbox.sandboxId, { timeoutMs: 10_000 })
    assert.equal(await again.files.read('mark'), 'mine')
    assert.deepEqual((await sandbox.getInfo()).endAt, end)
    await sandbox.connect({ timeoutMs: 900_000 })
    assert.ok((await sandbox.getInfo()).endAt - end > 600_000)
  })
})

test('shortened timeout ends it soon after', async () => {
  await withSandbox({}, async (sandbox) => {
    assert.equal(await sandbox.isRunning(), true)
    await sandbox.setTimeout(1_000)
    await waitUntil(async () => !(await sandbox.isRunning()), 'the sandbox is evicted', 5_000)
    await assert.rejects(sandbox.getInfo(), SandboxNotFoundError)
  })
})

test('kill is final at once', async () => {
  const mark = randomUUID()
  const sandbox = await Sandbox.create({ metadata: { mark } })
  assert.equal(await sandbox.kill(), true)
  assert.deepEqual(await Sandbox.list({ query: { metadata: { mark }, state: ['running'] } }).nextItems(), [])
  assert.equal(await sandbox.isRunning(), false)
  assert.equal(await sandbox.kill(), false)
  await assert.rejects(Sandbox.connect(sandbox.sandboxId), SandboxNotFoundError)
  await assert.rejects(sandbox.commands.run('true'), SandboxNotFoundError)
})

test('kill while a command runs', async () => {
  const sandbox = await Sandbox.create()
  const handle = await sandbox.commands.run('sleep 60', { background: true })
  await sandbox.kill()
  await assert.rejects(handle.wait(), (error) => {
    assert.ok(error instanceof TimeoutError, `${error}`)
    assert.match(error.message, /sandbox was killed or reached its end of life/)
    return true
  })
})

test('errors users see', async () => {
  await assert.rejects(Sandbox.create('no-such-template'), (error) => error instanceof SandboxError && /not found/.test(error.message))
  await assert.rejects(Sandbox.create({ apiKey: `e2b_${'0'.repeat(32)}` }), AuthenticationError)
  await assert.rejects(Sandbox.connect(`i${'0'.repeat(19)}`), NotFoundError)
  assert.equal(await Sandbox.kill(`i${'0'.repeat(19)}`), false)
})

test('twenty sandboxes at once', async () => {
  const made = await Promise.all(Array.from({ length: 20 }, (_, index) => Sandbox.create({ envs: { N: `${index}` } })))
  try {
    const results = await Promise.all(made.map((sandbox) => sandbox.commands.run('echo $N')))
    assert.deepEqual(results.map(({ stdout }) => stdout), Array.from({ length: 20 }, (_, index) => `${index}\n`))
  } finally {
    await Promise.all(made.map((sandbox) => sandbox.kill()))
  }
})
