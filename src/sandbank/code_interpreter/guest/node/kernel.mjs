// A kernel for JavaScript and TypeScript: cells are evaluated as in the inspector's console, so that `const` may be declared again and
// `await` needs no function. A second thread reads requests, because only it can stop a cell that never gives up the processor.

import { createHook } from 'node:async_hooks'
import { createRequire, isBuiltin, stripTypeScriptTypes } from 'node:module'
import { Session } from 'node:inspector'
import { writeSync } from 'node:fs'
import { inspect } from 'node:util'
import { pathToFileURL } from 'node:url'
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads'

const BUSY_MILLISECONDS = 100
// Of the memory that both threads see: messages that the first one has taken, and whether it is in a cell's own code, not in what goes on
// after an `await`. Termination elsewhere could hit code of Node.js, which does not survive it.
const TURNS = 0
const IN_CELL = 1

if (isMainThread) await main()
else await control()

async function control() {
  const { createReadStream } = await import('node:fs')
  const { createInterface } = await import('node:readline')
  const inspector = new Session()
  inspector.connectToMainThread()
  const idle = new Int32Array(workerData.idle)
  parentPort.on('message', ({ interrupt }) => {
    if (interrupt) stop()
  })
  const stop = () => {
    const before = Atomics.load(idle, TURNS)
    parentPort.postMessage({ interrupt: true })
    const patience = Atomics.load(idle, IN_CELL) ? BUSY_MILLISECONDS : 10 * BUSY_MILLISECONDS
    setTimeout(() => {
      if (Atomics.load(idle, TURNS) === before) inspector.post('Runtime.terminateExecution')
    }, patience)
  }
  for await (const line of createInterface({ input: createReadStream('', { fd: workerData.requests }) })) {
    const request = JSON.parse(line)
    if (request.interrupt) stop()
    else parentPort.postMessage(request)
  }
  process.kill(process.pid, 'SIGKILL') // the server is gone, and the first thread may never look up
}

async function main() {
  const requests = Number(process.env.REQUESTS_FD)
  const answers = Number(process.env.ANSWERS_FD)
  const language = process.argv[2]
  delete process.env.REQUESTS_FD
  delete process.env.ANSWERS_FD
  const answer = (message) => {
    let data = Buffer.from(JSON.stringify(message) + '\n')
    while (data.length > 0) data = data.subarray(writeSync(answers, data))
  }
  for (const [name, stream] of [['stdout', process.stdout], ['stderr', process.stderr]]) {
    stream.write = (chunk, encoding, callback) => {
      const text = typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString(typeof encoding === 'string' ? undefined : 'utf8')
      if (text) answer({ type: 'stream', name, text })
      // At once: what a loop without end puts off would be done before anything else when it is stopped.
      const done = typeof encoding === 'function' ? encoding : callback
      if (done) done()
      return true
    }
  }
  defineGlobals(answer)

  const inspector = new Session()
  inspector.connect()
  const post = (method, parameters) =>
    new Promise((resolve, reject) => inspector.post(method, parameters, (error, value) => (error ? reject(error) : resolve(value))))

  let interrupted = () => {}
  const idle = new SharedArrayBuffer(8)
  const seen = new Int32Array(idle)
  const worker = new Worker(new URL(import.meta.url), { workerData: { requests, idle }, stdout: true, stderr: true })
  worker.on('exit', () => process.exit(0))
  process.on('uncaughtException', (error) => process.stderr.write(`Uncaught ${describe(error)}\n`))
  process.on('unhandledRejection', (error) => process.stderr.write(`Uncaught (in promise) ${describe(error)}\n`))

  const waiting = []
  let running = false
  worker.on('message', (request) => {
    Atomics.add(seen, TURNS, 1)
    if (request.interrupt) return interrupted()
    waiting.push(request)
    if (!running) run()
  })

  async function run() {
    running = true
    while (waiting.length > 0) {
      const { id, code, silent } = waiting.shift()
      const stop = new Promise((resolve) => (interrupted = () => resolve({ stopped: true })))
      try {
        const outcome = await Promise.race([stop, evaluate(code)])
        if (outcome.stopped) answer({ type: 'error', id, name: 'Interrupted', value: 'Execution was interrupted', traceback: '' })
        else if (outcome.error) answer({ type: 'error', id, ...outcome.error })
        else if (!silent && outcome.value !== undefined) answer({ type: 'result', id, data: representations(outcome.value) })
      } catch (error) {
        answer({ type: 'error', id, ...problem(error) })
      }
      interrupted = () => {}
      // What the cell has set off for the very next turn of the loop still belongs to it.
      await new Promise((resolve) => setImmediate(resolve))
      answer({ type: 'done', id })
    }
    running = false
  }

  // What a cell waits for that was interrupted: were its promise collected as garbage, the inspector would call back in the middle of
  // that, which ends the process.
  const unfinished = new Set()
  const values = []
  const store = Symbol.for('sandbank.values')
  Object.defineProperty(globalThis, store, { value: values })

  async function evaluate(source) {
    const code = withoutImports(language === 'typescript' ? withoutTypes(source) : source)
    let reply
    let promise
    try {
      reply = await new Promise((resolve, reject) => {
        Atomics.store(seen, IN_CELL, 1)
        promise = firstPromise(() =>
          inspector.post('Runtime.evaluate', { expression: code, replMode: true, awaitPromise: true }, (error, value) =>
            error ? reject(error) : resolve(value),
          ),
        )
        Atomics.store(seen, IN_CELL, 0)
        unfinished.add(promise)
      })
    } catch (error) {
      return { error: { name: 'Interrupted', value: 'Execution was interrupted', traceback: '' } }
    } finally {
      unfinished.delete(promise)
    }
    const subject = reply.exceptionDetails ? reply.exceptionDetails.exception : reply.result
    const value = await local(subject)
    if (!reply.exceptionDetails) return { value }
    return { error: problem(value) }
  }

  // The inspector knows values by numbers of its own; a function gets them here.
  async function local(remote) {
    if (!remote.objectId) {
      if (remote.unserializableValue !== undefined) return (0, eval)(remote.unserializableValue)
      return remote.value
    }
    const keep = await post('Runtime.evaluate', { expression: `(value) => void globalThis[Symbol.for('sandbank.values')].push(value)` })
    await post('Runtime.callFunctionOn', {
      objectId: keep.result.objectId,
      functionDeclaration: 'function (value) { this(value) }',
      arguments: [{ objectId: remote.objectId }],
    })
    inspector.post('Runtime.releaseObject', { objectId: remote.objectId })
    inspector.post('Runtime.releaseObject', { objectId: keep.result.objectId })
    return values.pop()
  }

  process.on('exit', () => process.kill(process.pid, 'SIGKILL')) // it would wait for inspectors to leave
  process.on('SIGINT', () => {}) // the second thread is told instead
  answer({ type: 'ready' })
}

// The first promise that is made while this runs: of a cell, its own.
function firstPromise(work) {
  let first
  const hook = createHook({
    init(number, type, trigger, resource) {
      if (type === 'PROMISE') first ??= resource
    },
  })
  hook.enable()
  try {
    work()
  } finally {
    hook.disable()
  }
  return first
}

function defineGlobals(answer) {
  const directory = pathToFileURL(process.cwd() + '/')
  const require = createRequire(new URL('cell.js', directory))
  const display = (value) => answer({ type: 'display', data: representations(value) })
  const raw = (mime) => (content) => answer({ type: 'display', data: { [mime]: content } })
  display.html = raw('text/html')
  display.svg = raw('image/svg+xml')
  display.png = raw('image/png')
  display.jpeg = raw('image/jpeg')
  display.markdown = raw('text/markdown')
  display.latex = raw('text/latex')
  display.json = raw('application/json')
  display.text = raw('text/plain')
  display.mime = (data) => answer({ type: 'display', data })
  const importing = (specifier) => {
    if (isBuiltin(specifier)) return import(specifier)
    try {
      const found = createRequire(pathToFileURL(process.cwd() + '/cell.js')).resolve(specifier)
      return import(isBuiltin(found) ? found : pathToFileURL(found))
    } catch (error) {
      if (/^[a-z]+:/.test(specifier)) return import(specifier)
      throw error
    }
  }
  for (const [name, value] of Object.entries({ require, display, $$: display, __import: importing, module: { exports: {} } }))
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false })
  globalThis.exports = globalThis.module.exports
}

function withoutTypes(code) {
  return stripTypeScriptTypes(code, { mode: 'transform' })
}

const OPAQUE = /\/\/[^\n]*|\/\*[^]*?\*\/|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\[^]|[^`\\])*`/
const FROM = /^[ \t]*import\s+(?<what>[^'"();]+?)\s+from\s*(?:'(?<from1>[^'\n]+)'|"(?<from2>[^"\n]+)")[ \t]*;?/
const BARE = /^[ \t]*import\s*(?:'(?<bare1>[^'\n]+)'|"(?<bare2>[^"\n]+)")[ \t]*;?/
const CALL = /(?<call>(?<![.\w$])import\s*\()/
const IMPORTS = new RegExp([FROM, BARE, OPAQUE, CALL].map((part) => part.source).join('|'), 'gm')

// Declarations of imports belong to modules, and scripts of the inspector have nothing behind `import()`: both become calls of ours,
// in as many lines as before.
function withoutImports(code) {
  return code.replace(IMPORTS, (text, ...rest) => {
    const found = rest.at(-1)
    const lines = '\n'.repeat(text.split('\n').length - 1)
    const from = found.from1 ?? found.from2
    const bare = found.bare1 ?? found.bare2
    if (from) return declaration(found.what.trim(), `await __import(${JSON.stringify(from)})`, text) + lines
    if (bare) return `await __import(${JSON.stringify(bare)});${lines}`
    return found.call ? '__import(' : text
  })
}

function declaration(what, source, text) {
  const parts = /^([\w$]+)?\s*,?\s*(?:\*\s*as\s+([\w$]+)|\{([^}]*)\})?$/s.exec(what)
  if (!parts) return text
  const [, byDefault, all, some] = parts
  const names = some === undefined ? [] : [some.replace(/\s+as\s+/g, ': ').replace(/\s+/g, ' ')]
  if (byDefault) names.unshift(`default: ${byDefault}`)
  const statements = all ? [`var ${all} = ${source}`] : []
  if (names.length > 0) statements.push(`var { ${names.join(', ')} } = ${all ?? source}`)
  return statements.join('; ') + ';'
}

function representations(value) {
  const data = {}
  const methods = [['toHtml', 'text/html'], ['toSvg', 'image/svg+xml'], ['toPng', 'image/png'], ['toJpeg', 'image/jpeg']]
  try {
    if (value !== null && typeof value === 'object') {
      const own = value[Symbol.for('Jupyter.display')]
      if (typeof own === 'function') Object.assign(data, own.call(value))
      for (const [method, mime] of methods) if (typeof value[method] === 'function') data[mime] = String(value[method]())
      if (typeof value.toMime === 'function') Object.assign(data, value.toMime())
      const prototype = Object.getPrototypeOf(value)
      if (Array.isArray(value) || prototype === null || prototype === Object.prototype) data['application/json'] = JSON.parse(JSON.stringify(value))
    }
  } catch {
    // A value that cannot be told in another way has its text.
  }
  data['text/plain'] ??= inspect(value)
  return data
}

function describe(error) {
  return error instanceof Error ? (error.stack ?? String(error)) : inspect(error)
}

function problem(error) {
  if (!(error instanceof Error) && !(error && typeof error.stack === 'string')) {
    return { name: 'Error', value: typeof error === 'string' ? error : inspect(error), traceback: `Uncaught ${inspect(error)}` }
  }
  const ours = (line) => /^\s+at /.test(line) && (line.includes(import.meta.url) || /\(?node:(inspector|internal)/.test(line))
  const lines = String(error.stack ?? error).split('\n')
  const end = lines.findIndex(ours)
  const traceback = lines.slice(0, end < 0 ? lines.length : end).join('\n')
  return { name: String(error.name ?? 'Error'), value: String(error.message ?? ''), traceback }
}
