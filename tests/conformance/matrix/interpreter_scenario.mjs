// What the code interpreter's JavaScript package can do here, with the template that it asks for.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const { Sandbox } = await import(pathToFileURL(createRequire(`${process.cwd()}/`).resolve('@e2b/code-interpreter')))
const { version } = JSON.parse(readFileSync(`${process.cwd()}/node_modules/@e2b/code-interpreter/package.json`))

const checks = {
  async create_and_kill() {
    const sandbox = await Sandbox.create('base', { timeoutMs: 60_000 })
    assert.equal(await sandbox.kill(), true)
    assert.equal(await sandbox.isRunning(), false)
  },

  async commands(sandbox) {
    assert.equal((await sandbox.commands.run('echo fine')).stdout, 'fine\n')
  },

  async files(sandbox) {
    await sandbox.files.write('text', 'kept')
    assert.equal(await sandbox.files.read('text'), 'kept')
  },

  async running_code(sandbox) {
    await sandbox.runCode('x = 40')
    let heard = ''
    const ran = await sandbox.runCode("print('said')\nx + 2", { onStdout: (message) => (heard += message.line) })
    assert.deepEqual([ran.text, ran.logs.stdout.join(''), heard], ['42', 'said\n', 'said\n'])
  },

  async rich_results(sandbox) {
    const ran = await sandbox.runCode(
      "import matplotlib.pyplot as plt\nplt.plot([1, 2], [3, 4])\nplt.show()\nimport pandas\npandas.DataFrame({'a': [1]})",
    )
    assert.ok(ran.results[0].png)
    assert.match(ran.results[1].html, /<table/)
  },

  async contexts(sandbox) {
    const context = await sandbox.createCodeContext({ cwd: '/tmp' })
    assert.equal((await sandbox.runCode('import os; os.getcwd()', { context })).text, '/tmp')
    assert.equal((await sandbox.runCode("'x' in globals()", { context })).text, 'False')
  },

  async other_languages(sandbox) {
    assert.equal((await sandbox.runCode('const a: number = 5; a * 2', { language: 'typescript' })).text, '10')
    assert.deepEqual((await sandbox.runCode('echo $((6 * 7))', { language: 'bash' })).logs.stdout, ['42\n'])
  },

  async errors(sandbox) {
    assert.equal((await sandbox.runCode('1 / 0')).error.name, 'ZeroDivisionError')
    await assert.rejects(Sandbox.create('no-such-template', { timeoutMs: 60_000 }), /no-such-template/)
  },
}

const outcomes = {}
const sandbox = await Sandbox.create({ timeoutMs: 300_000 })
try {
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check(sandbox)
      outcomes[name] = 'passed'
    } catch (error) {
      outcomes[name] = `${error.name}: ${error.message}\n${error.stack}`
    }
  }
} finally {
  await sandbox.kill()
}
process.stdout.write(`${JSON.stringify({ release: version, outcomes })}\n`, () => process.exit(0))
