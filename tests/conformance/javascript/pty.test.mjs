import assert from 'node:assert/strict'
import { test } from 'node:test'

import { CommandExitError } from 'e2b'

import { MISSING_PID, sharedSandbox, waitUntil } from './support.mjs'

const shared = sharedSandbox()
const bytes = (text) => new TextEncoder().encode(text)

function screen() {
  const state = { text: '', onData: (data) => { state.text += new TextDecoder().decode(data) } }
  return state
}

test('terminal runs a shell with environment and size', async () => {
  const seen = screen()
  const terminal = await shared.sandbox.pty.create({ cols: 80, rows: 24, onData: seen.onData, envs: { ABC: '123' }, cwd: '/tmp' })
  await shared.sandbox.pty.sendInput(terminal.pid, bytes('echo value-$ABC cols-$(tput cols) at-$PWD\nexit\n'))
  assert.equal((await terminal.wait()).exitCode, 0)
  assert.match(seen.text, /value-123 cols-80 at-\/tmp/)
})

test('resize reaches the programs', async () => {
  const seen = screen()
  const terminal = await shared.sandbox.pty.create({ cols: 80, rows: 24, onData: seen.onData })
  await shared.sandbox.pty.resize(terminal.pid, { cols: 100, rows: 50 })
  await shared.sandbox.pty.sendInput(terminal.pid, bytes('echo size-$(tput cols)x$(tput lines)-end\nexit\n'))
  await terminal.wait()
  assert.match(seen.text, /size-100x50-end/)
})

test('disconnect and connect again', async () => {
  const first = screen()
  const terminal = await shared.sandbox.pty.create({ cols: 80, rows: 24, onData: first.onData, envs: { FOO: 'bar' } })
  await shared.sandbox.pty.sendInput(terminal.pid, bytes('echo early-$FOO\n'))
  await waitUntil(() => first.text.includes('early-bar'), 'the first output')
  await terminal.disconnect()
  const second = screen()
  const again = await shared.sandbox.pty.connect(terminal.pid, { onData: second.onData })
  assert.equal(again.pid, terminal.pid)
  await shared.sandbox.pty.sendInput(terminal.pid, bytes('echo late-$FOO\nexit\n'))
  assert.equal((await again.wait()).exitCode, 0)
  assert.match(second.text, /late-bar/)
  assert.doesNotMatch(first.text, /late-bar/)
})

test('kill', async () => {
  const terminal = await shared.sandbox.pty.create({ cols: 80, rows: 24, onData: () => {} })
  assert.equal(await shared.sandbox.pty.kill(terminal.pid), true)
  await assert.rejects(shared.sandbox.commands.run(`kill -0 ${terminal.pid}`), CommandExitError)
  await assert.rejects(terminal.wait(), (error) => error.error === 'signal: killed')
  assert.equal(await shared.sandbox.pty.kill(MISSING_PID), false)
})
