// Pausing by the official JavaScript client (contract rest-api §8.6–§8.8, §11).
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Sandbox, SandboxNotFoundError } from 'e2b'
import { getByHost, waitUntil } from './support.mjs'

const COUNT = 'i=0; while true; do i=$((i+1)); echo $i; sleep 0.1; done'

test('files, memory and handles go on', async () => {
  const sandbox = await Sandbox.create({ timeoutMs: 120_000 })
  try {
    const counter = await sandbox.commands.run(COUNT, { background: true })
    await sandbox.files.write('/home/user/kept', 'file')
    for (let cycle = 0; cycle < 2; cycle++) {
      assert.equal(await sandbox.pause(), true)
      assert.equal((await sandbox.getInfo()).state, 'paused')
      await Sandbox.connect(sandbox.sandboxId)
    }
    assert.equal(await sandbox.files.read('/home/user/kept'), 'file')
    let seen = ''
    const again = await sandbox.commands.connect(counter.pid, { onStdout: (text) => (seen += text) })
    while (seen.split('\n').length < 5) await new Promise((resolve) => setTimeout(resolve, 50))
    await again.kill()
    assert.ok(Number(seen.split('\n')[0]) > 1)
  } finally {
    await sandbox.kill()
  }
})

test('a server, a terminal and a command that is followed go on', async () => {
  const sandbox = await Sandbox.create({ timeoutMs: 120_000 })
  try {
    const server = "let visits = 0; require('http').createServer((_, answer) => answer.end(String(++visits))).listen(3000)"
    await sandbox.commands.run(`exec node -e "${server}"`, { background: true, timeoutMs: 0 })
    const visit = async () => (await getByHost(sandbox.getHost(3000))).text
    await waitUntil(async () => (await visit()) === '1', 'the first visit')
    const shown = { text: '', onData: (data) => (shown.text += new TextDecoder().decode(data)) }
    const terminal = await sandbox.pty.create({ cols: 80, rows: 24, onData: shown.onData })
    const type = async (keys, expected) => {
      shown.text = ''
      await sandbox.pty.sendInput(terminal.pid, new TextEncoder().encode(keys))
      await waitUntil(() => shown.text.includes(expected), `${expected} after ${JSON.stringify(keys)}`)
    }
    await type('nano letter\n', 'New File')
    await type('before', 'before')
    await sandbox.files.write('/home/user/log', '')
    const follower = await sandbox.commands.run('exec tail -f log', { background: true, timeoutMs: 0 })
    const ended = follower.wait().then(() => 'ended by itself', () => 'cut')

    await sandbox.pause()
    assert.equal(await ended, 'cut')
    await Sandbox.connect(sandbox.sandboxId, { timeoutMs: 120_000 })

    assert.ok(Number(await visit()) >= 2)
    await sandbox.pty.connect(terminal.pid, { onData: shown.onData })
    await type(' and after', 'after')
    await type('\x0f', 'Write')
    await type('\r', 'Wrote 1 line')
    assert.equal(await sandbox.files.read('/home/user/letter'), 'before and after\n')
    let followed = ''
    const again = await sandbox.commands.connect(follower.pid, { onStdout: (text) => (followed += text), timeoutMs: 0 })
    await sandbox.commands.run('echo more >> log')
    await waitUntil(() => followed === 'more\n', 'what was written after the resume')
    await again.kill()
  } finally {
    await sandbox.kill()
  }
})

test('a second pause is told apart, and a killed one is gone', async () => {
  const sandbox = await Sandbox.create({ timeoutMs: 120_000 })
  assert.equal(await sandbox.pause(), true)
  assert.equal(await sandbox.pause(), false)
  assert.equal(await sandbox.kill(), true)
  await assert.rejects(Sandbox.connect(sandbox.sandboxId), SandboxNotFoundError)
})

test('it is paused at its end and wakes for its client', async () => {
  const sandbox = await Sandbox.create({ timeoutMs: 2_000, lifecycle: { onTimeout: 'pause', autoResume: true } })
  try {
    while ((await sandbox.getInfo()).state !== 'paused') await new Promise((resolve) => setTimeout(resolve, 100))
    assert.equal((await sandbox.commands.run('echo woken')).stdout, 'woken\n')
  } finally {
    await sandbox.kill()
  }
})

test('forks go on where their parent is', async () => {
  const parent = await Sandbox.create({ timeoutMs: 120_000 })
  let forks = []
  try {
    await parent.files.write('/home/user/name', 'parent')
    forks = await parent.fork({ count: 2, timeoutMs: 60_000 })
    assert.equal(forks.length, 2)
    for (const fork of forks) {
      assert.notEqual(fork.sandboxId, parent.sandboxId)
      assert.equal(await fork.files.read('/home/user/name'), 'parent')
      await fork.files.write('/home/user/name', fork.sandboxId)
    }
    assert.equal(await parent.files.read('/home/user/name'), 'parent')
  } finally {
    for (const fork of forks) await fork.kill()
    await parent.kill()
  }
})

test('without its memory it boots', async () => {
  const sandbox = await Sandbox.create({ timeoutMs: 120_000, envs: { KEPT: 'variable' } })
  const bootId = () => sandbox.files.read('/proc/sys/kernel/random/boot_id')
  try {
    await sandbox.files.write('/home/user/kept', 'file')
    const before = await bootId()
    await sandbox.pause()
    await Sandbox.connect(sandbox.sandboxId)
    assert.equal(await bootId(), before)
    await sandbox.pause({ keepMemory: false })
    await Sandbox.connect(sandbox.sandboxId)
    const second = await bootId()
    assert.notEqual(second, before)
    assert.equal((await sandbox.commands.run('cat /home/user/kept; echo $KEPT')).stdout, 'filevariable\n')
    await sandbox.pause()
    await Sandbox.connect(sandbox.sandboxId, { onResume: 'reboot' })
    assert.notEqual(await bootId(), second)
  } finally {
    await sandbox.kill()
  }
})
