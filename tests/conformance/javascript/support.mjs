// What the test files share: the sandbox of a file, fresh directories, waiting, and requests by host name.
import { randomUUID } from 'node:crypto'
import http from 'node:http'
import { after, before } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { Sandbox } from 'e2b'

export const MISSING_PID = 999_999

/** One sandbox for all tests of a file; read it from the returned object inside tests. */
export function sharedSandbox() {
  const shared = {}
  before(async () => {
    shared.sandbox = await Sandbox.create({ timeoutMs: 600_000, envs: { FOO: 'sandbox' } })
  })
  after(async () => {
    await shared.sandbox?.kill()
  })
  return shared
}

/** A fresh directory below the user's home. */
export async function freshFolder(sandbox) {
  const path = `/home/user/${randomUUID().slice(0, 13)}`
  await sandbox.files.makeDir(path)
  return path
}

/** Waits for what the product promises; the bound only turns a hang into a failure. */
export async function waitUntil(condition, what, milliseconds = 10_000) {
  const end = Date.now() + milliseconds
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`not within ${milliseconds} ms: ${what}`)
    await sleep(50)
  }
}

/** GETs through the client proxy with the given Host, which fetch() would not let us choose. */
export function getByHost(host, path = '/', headers = {}) {
  const proxy = new URL(process.env.E2B_SANDBOX_URL)
  return new Promise((resolve, reject) => {
    const options = { host: proxy.hostname, port: proxy.port, path, headers: { Host: host, ...headers } }
    const request = http.get(options, (response) => {
      const pieces = []
      response.on('data', (piece) => pieces.push(piece))
      response.on('error', reject)
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, text: Buffer.concat(pieces).toString() }))
    })
    request.on('error', reject)
  })
}
