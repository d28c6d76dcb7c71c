// What one release of the JavaScript SDK can do here: run from a directory that has that release in `node_modules`, prints one JSON object.
//
// Written to the oldest interface that still works, with a word for each thing that was named differently before.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const resolve = createRequire(`${process.cwd()}/`).resolve
const entry = resolve('e2b')
const e2b = await import(pathToFileURL(entry.replace(/index\.js$/, 'index.mjs')))
const { Sandbox } = e2b
const release = JSON.parse(readFileSync(`${process.cwd()}/node_modules/e2b/package.json`)).version

class Absent extends Error {}

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds))

async function until(condition, what, seconds = 15) {
  const end = Date.now() + seconds * 1000
  while (!(await condition())) {
    assert.ok(Date.now() < end, `not within ${seconds} s: ${what}`)
    await pause(50)
  }
}

const checks = {
  async create_and_kill() {
    const sandbox = await Sandbox.create({ timeoutMs: 60_000, envs: { FOO: 'bar' }, metadata: { of: 'scenario' } })
    assert.equal((await sandbox.commands.run('echo $FOO')).stdout, 'bar\n')
    assert.equal(await sandbox.isRunning(), true)
    await sandbox.kill()
    assert.equal(await sandbox.isRunning(), false)
  },

  async list_sandboxes(sandbox) {
    const found = await Sandbox.list()
    const items = Array.isArray(found) ? found : await found.nextItems()
    assert.ok(items.some((item) => item.sandboxId === sandbox.sandboxId))
  },

  async info(sandbox) {
    if (!sandbox.getInfo) throw new Absent()
    const seen = await sandbox.getInfo()
    assert.equal(seen.sandboxId, sandbox.sandboxId)
    assert.deepEqual(seen.metadata, { release: 'under test' })
  },

  async set_timeout(sandbox) {
    await sandbox.setTimeout(300_000)
    assert.equal(await sandbox.isRunning(), true)
  },

  async connect(sandbox) {
    const again = await Sandbox.connect(sandbox.sandboxId)
    assert.equal((await again.commands.run('echo again')).stdout, 'again\n')
  },

  async commands(sandbox) {
    const seen = { out: '', err: '' }
    const callbacks = { onStdout: (text) => void (seen.out += text), onStderr: (text) => void (seen.err += text) }
    const result = await sandbox.commands.run('echo $A; echo err >&2; pwd', { envs: { A: 'b' }, cwd: '/tmp', ...callbacks })
    assert.deepEqual([result.stdout, result.stderr, result.exitCode], ['b\n/tmp\n', 'err\n', 0])
    assert.deepEqual(seen, { out: 'b\n/tmp\n', err: 'err\n' })
    assert.equal((await sandbox.commands.run('whoami', { user: 'root' })).stdout, 'root\n')
    assert.equal((await sandbox.commands.run('whoami')).stdout, 'user\n')
  },

  async exit_codes(sandbox) {
    // Some of the oldest releases return the result; all others throw it.
    const result = await sandbox.commands.run('exit 3').catch((error) => error)
    assert.equal(result.exitCode, 3)
  },

  async background(sandbox) {
    const handle = await sandbox.commands.run('sleep 300', { background: true })
    const ended = handle.wait().catch((error) => error)
    assert.ok((await sandbox.commands.list()).some((process) => process.pid === handle.pid))
    const again = await sandbox.commands.connect(handle.pid)
    again.wait().catch(() => undefined)
    assert.equal(again.pid, handle.pid)
    assert.equal(await sandbox.commands.kill(handle.pid), true)
    assert.notEqual((await ended).exitCode, 0)
    assert.equal(await sandbox.commands.kill(handle.pid), false)
  },

  async standard_input(sandbox) {
    const handle = await sandbox.commands.run('head -n 1', { background: true, stdin: true })
    await sandbox.commands.sendStdin(handle.pid, 'typed\n')
    assert.equal((await handle.wait()).stdout, 'typed\n')
  },

  async timeouts(sandbox) {
    await assert.rejects(sandbox.commands.run('sleep 30', { timeoutMs: 1000 }), e2b.TimeoutError)
  },

  async terminal(sandbox) {
    let seen = ''
    const decoder = new TextDecoder()
    const handle = await sandbox.pty.create({ cols: 80, rows: 24, onData: (data) => void (seen += decoder.decode(data)) })
    await sandbox.pty.resize(handle.pid, { cols: 100, rows: 30 })
    await sandbox.pty.sendInput(handle.pid, new TextEncoder().encode('tput cols; exit\n'))
    await handle.wait()
    assert.match(seen, /100/)
  },

  async files(sandbox) {
    await sandbox.files.write('folder/file.txt', 'text')
    assert.equal(await sandbox.files.read('folder/file.txt'), 'text')
    const bytes = Uint8Array.from({ length: 256 }, (_, index) => index)
    await sandbox.files.write('/tmp/bytes', bytes.buffer)
    assert.deepEqual(new Uint8Array(await sandbox.files.read('/tmp/bytes', { format: 'bytes' })), bytes)
    await sandbox.files.write('empty', '')
    assert.equal(await sandbox.files.read('empty'), '')
    assert.deepEqual((await sandbox.files.list('folder')).map((entry) => entry.name), ['file.txt'])
    assert.equal(await sandbox.files.exists('folder/file.txt'), true)
    await sandbox.files.rename('folder/file.txt', 'folder/other.txt')
    assert.equal(await sandbox.files.exists('folder/file.txt'), false)
    assert.equal(await sandbox.files.makeDir('folder/inner'), true)
    assert.equal(await sandbox.files.makeDir('folder/inner'), false)
    await sandbox.files.remove('folder')
    assert.equal(await sandbox.files.exists('folder'), false)
  },

  async many_files(sandbox) {
    const entries = Array.from({ length: 10 }, (_, number) => ({ path: `many/${number}`, data: String(number) }))
    if (sandbox.files.writeFiles) await sandbox.files.writeFiles(entries)
    else if (sandbox.files.write.length > 0 && /isArray|pathOrFiles/.test(sandbox.files.write.toString())) await sandbox.files.write(entries)
    else throw new Absent()
    assert.equal(await sandbox.files.read('many/7'), '7')
  },

  async watching(sandbox) {
    await sandbox.files.makeDir('watched')
    const seen = []
    const handle = await sandbox.files.watchDir('watched', (event) => void seen.push(event.name))
    await sandbox.files.write('watched/new', 'x')
    await until(() => seen.includes('new'), 'an event')
    await handle.stop()
  },

  async signed_urls(sandbox) {
    // Releases before 2.0 create sandboxes that need no signature, and refuse to make one.
    const options = release.startsWith('1.') ? [] : [{ user: 'user', useSignatureExpiration: 60 }]
    const form = new FormData()
    form.append('file', new Blob(['by link']), 'x')
    const upload = await fetch(await sandbox.uploadUrl('/home/user/signed', ...options), { method: 'POST', body: form })
    assert.equal(upload.status, 200)
    const url = await sandbox.downloadUrl('/home/user/signed', ...options)
    assert.equal(await (await fetch(url)).text(), 'by link')
  },

  async ports(sandbox) {
    const serve = 'mkdir -p /tmp/web && cd /tmp/web && echo served > page && python3 -m http.server 8000'
    const server = await sandbox.commands.run(serve, { background: true })
    server.wait().catch(() => undefined)
    await until(async () => {
      const answer = await fetch(`https://${sandbox.getHost(8000)}/page`)
      if (answer.ok) assert.equal(await answer.text(), 'served\n')
      else assert.equal(answer.status, 502)
      return answer.ok
    }, 'the page')
    await server.kill()
  },

  async metrics(sandbox) {
    if (!sandbox.getMetrics) throw new Absent()
    await sandbox.getMetrics()
  },

  async pausing(sandbox) {
    const pauses = sandbox.pause ?? sandbox.betaPause
    if (!pauses) throw new Absent()
    await sandbox.files.write('/tmp/paused', 'kept')
    await pauses.call(sandbox)
    await (e2b.Sandbox.resume ?? e2b.Sandbox.connect).call(e2b.Sandbox, sandbox.sandboxId)
    assert.equal(await sandbox.files.read('/tmp/paused'), 'kept')
  },

  async snapshots(sandbox) {
    if (!sandbox.createSnapshot) throw new Absent()
    const { snapshotId } = await sandbox.createSnapshot()
    const listed = await sandbox.listSnapshots().nextItems()
    assert.ok(listed.some((snapshot) => snapshot.snapshotId === snapshotId))
    const copy = await e2b.Sandbox.create(snapshotId)
    assert.equal(await copy.files.read('/tmp/paused'), 'kept')
    await copy.kill()
    assert.equal(await e2b.Sandbox.deleteSnapshot(snapshotId), true)
  },

  async forking(sandbox) {
    if (!sandbox.fork) throw new Absent()
    for (const fork of await sandbox.fork()) {
      assert.equal(await fork.files.read('/tmp/paused'), 'kept')
      await fork.kill()
    }
  },

  async errors(sandbox) {
    await assert.rejects(sandbox.files.read('/nothing/there'), e2b.NotFoundError)
    await assert.rejects(sandbox.files.list('/nothing/there'), e2b.NotFoundError)
    await assert.rejects(sandbox.files.list('~stranger/x'), e2b.SandboxError)
    await assert.rejects(Sandbox.create('no-such-template'), Error)
    await assert.rejects(Sandbox.create({ apiKey: `e2b_${'0'.repeat(40)}` }), /401|[Uu]nauthorized|API key/)
  },
}

const outcomes = {}
const sandbox = await Sandbox.create({ timeoutMs: 300_000, metadata: { release: 'under test' } })
try {
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check(sandbox)
      outcomes[name] = 'passed'
    } catch (error) {
      outcomes[name] = error instanceof Absent ? 'absent' : `${error.name}: ${error.message}\n${error.stack}`
    }
  }
} finally {
  await sandbox.kill()
}
process.stdout.write(`${JSON.stringify({ release, outcomes })}\n`, () => process.exit(0))
