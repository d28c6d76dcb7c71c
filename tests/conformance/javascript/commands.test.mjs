import assert from 'node:assert/strict'
import { test } from 'node:test'

import { CommandExitError, InvalidArgumentError, NotFoundError, TimeoutError } from 'e2b'

import { MISSING_PID, sharedSandbox, waitUntil } from './support.mjs'

const shared = sharedSandbox()

test('output is the text and a newline', async () => {
  for (const text of ['Hello, World!', '!@#$%^&*()_+', 'Hello,\nWorld!', 'Grüße, 世界 🦕']) {
    const result = await shared.sandbox.commands.run(`echo '${text}'`)
    assert.equal(result.stdout, `${text}\n`)
    assert.equal(result.stderr, '')
    assert.equal(result.exitCode, 0)
  }
})

test('large output arrives whole and in order', async () => {
  const result = await shared.sandbox.commands.run('seq 1 200000')
  assert.equal(result.stdout, Array.from({ length: 200_000 }, (_, index) => `${index + 1}\n`).join(''))
})

test('exit code and both streams are reported', async () => {
  await assert.rejects(shared.sandbox.commands.run('echo out; echo err >&2; exit 3'), (error) => {
    assert.ok(error instanceof CommandExitError)
    assert.equal(error.exitCode, 3)
    assert.equal(error.stdout, 'out\n')
    assert.equal(error.stderr, 'err\n')
    return true
  })
})

test('command that does not exist exits with 127', async () => {
  await assert.rejects(shared.sandbox.commands.run('no-such-command-here'), (error) => error.exitCode === 127)
})

test('callbacks get output while the command runs', async () => {
  const seen = []
  const started = Date.now()
  const result = await shared.sandbox.commands.run('echo first; echo problem >&2; sleep 1; echo second', {
    onStdout: (text) => seen.push(['out', text, Date.now() - started]),
    onStderr: (text) => seen.push(['err', text, Date.now() - started]),
  })
  const ended = Date.now() - started
  const out = seen.filter(([stream]) => stream === 'out')
  assert.equal(out.map(([, text]) => text).join(''), 'first\nsecond\n')
  assert.equal(result.stdout, 'first\nsecond\n')
  assert.deepEqual(seen.filter(([stream]) => stream === 'err').map(([, text]) => text), ['problem\n'])
  assert.ok(ended - out[0][2] >= 900, 'the first line came only when the command had ended')
})

test('command within its timeout finishes, past it the command is killed', async () => {
  await shared.sandbox.commands.run('sleep 1', { timeoutMs: 20_000 })
  await assert.rejects(shared.sandbox.commands.run('echo $$ > /tmp/timed-out; exec sleep 100', { timeoutMs: 1_000 }))
  const pid = (await shared.sandbox.files.read('/tmp/timed-out')).trim()
  const alive = async () => (await shared.sandbox.commands.run(`kill -0 ${pid} 2>/dev/null && echo alive || echo gone`)).stdout
  await waitUntil(async () => (await alive()) === 'gone\n', 'the command is killed')
})

test('waiting past the timeout raises TimeoutError', async () => {
  const handle = await shared.sandbox.commands.run('sleep 100', { background: true, timeoutMs: 2_000 })
  await assert.rejects(handle.wait(), TimeoutError)
})

test('background command can be awaited', async () => {
  const handle = await shared.sandbox.commands.run('sleep 0.3; echo background', { background: true })
  assert.ok(handle.pid > 0)
  const result = await handle.wait()
  assert.equal(result.stdout, 'background\n')
})

test('disconnecting leaves the command running and is prompt', async () => {
  const handle = await shared.sandbox.commands.run('sleep 1; echo finished > /tmp/after-disconnect', { background: true })
  await handle.disconnect()
  const again = await shared.sandbox.commands.connect(handle.pid)
  assert.equal(again.pid, handle.pid)
  assert.equal((await again.wait()).exitCode, 0)
  assert.equal(await shared.sandbox.files.read('/tmp/after-disconnect'), 'finished\n')
})

test('what does not exist cannot be connected to or killed', async () => {
  await assert.rejects(shared.sandbox.commands.connect(MISSING_PID), NotFoundError)
  assert.equal(await shared.sandbox.commands.kill(MISSING_PID), false)
  await assert.rejects(shared.sandbox.commands.sendStdin(MISSING_PID, 'x'), NotFoundError)
})

test('killed command is reaped at once and says how it died', async () => {
  const handle = await shared.sandbox.commands.run('exec sleep 100', { background: true })
  assert.equal(await shared.sandbox.commands.kill(handle.pid), true)
  await assert.rejects(shared.sandbox.commands.run(`kill -0 ${handle.pid}`), CommandExitError)
  await assert.rejects(handle.wait(), (error) => error.exitCode === -1 && error.error === 'signal: killed')
})

test('list names what runs', async () => {
  const handles = [
    await shared.sandbox.commands.run('exec sleep 101', { background: true, cwd: '/tmp', envs: { N: '1' } }),
    await shared.sandbox.commands.run('exec sleep 102', { background: true }),
  ]
  const listed = await shared.sandbox.commands.list()
  const first = listed.find(({ pid }) => pid === handles[0].pid)
  assert.equal(first.cmd, '/bin/bash')
  assert.deepEqual(first.args, ['-l', '-c', 'exec sleep 101'])
  assert.deepEqual(first.envs, { N: '1' })
  assert.equal(first.cwd, '/tmp')
  assert.ok(listed.some(({ pid }) => pid === handles[1].pid))
  for (const handle of handles) {
    await handle.kill()
    await assert.rejects(handle.wait(), CommandExitError)
  }
  const pids = (await shared.sandbox.commands.list()).map(({ pid }) => pid)
  assert.ok(!handles.some(({ pid }) => pids.includes(pid)))
})

test('stdin reaches the command until it is closed', async () => {
  for (const data of ['Hello, World!', '!@#$%^&*()_+', 'two\nlines', '', 'Grüße 🦕', new TextEncoder().encode('bytes')]) {
    const handle = await shared.sandbox.commands.run('cat', { background: true, stdin: true })
    await shared.sandbox.commands.sendStdin(handle.pid, data)
    await shared.sandbox.commands.closeStdin(handle.pid)
    const result = await handle.wait()
    assert.equal(result.exitCode, 0)
    assert.equal(result.stdout, typeof data === 'string' ? data : 'bytes')
  }
})

test('stdin is empty unless asked for', async () => {
  assert.equal((await shared.sandbox.commands.run('cat')).stdout, '')
})

test('environment of the sandbox and of one command', async () => {
  const run = async (command, envs) => (await shared.sandbox.commands.run(command, { envs })).stdout
  assert.equal(await run('echo $FOO'), 'sandbox\n')
  assert.equal(await run('echo $FOO', { FOO: 'command' }), 'command\n')
  assert.equal(await run(`python3 -c "import os; print(os.environ['FOO'])"`, { FOO: 'python' }), 'python\n')
  assert.equal(await run('echo $FOO'), 'sandbox\n')
})

test('users and working directories', async () => {
  const run = async (command, options) => (await shared.sandbox.commands.run(command, options)).stdout
  assert.equal(await run('whoami; pwd'), 'user\n/home/user\n')
  assert.equal(await run('whoami; pwd', { user: 'root' }), 'root\n/root\n')
  assert.equal(await run('pwd', { cwd: '/tmp' }), '/tmp\n')
  assert.equal(await run('sudo -n id -u'), '0\n')
  await assert.rejects(run('pwd', { cwd: '/no/such/place' }), InvalidArgumentError)
})

test('many commands at once', async () => {
  const results = await Promise.all(Array.from({ length: 50 }, (_, index) => shared.sandbox.commands.run(`echo ${index}`)))
  assert.deepEqual(results.map(({ stdout }) => stdout), Array.from({ length: 50 }, (_, index) => `${index}\n`))
})
