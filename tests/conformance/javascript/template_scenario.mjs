// One template built, another that fails; prints what a user sees as JSON.
import { Template } from 'e2b'

const lines = []
const recipe = Template({ fileContextPath: process.env.CONTEXT }).fromImage('node:lts').copy('app.js', '/app/').runCmd('node /app/app.js')
const info = await Template.build(recipe, 'js-app', { onBuildLogs: (entry) => lines.push(entry.message) })
let failure
try {
  await Template.build(Template().fromBaseImage().runCmd('exit 3'), 'js-broken')
} catch (error) {
  failure = error.message
}
const exists = [await Template.exists('js-app'), await Template.exists('absent')]
console.log(JSON.stringify({ name: info.name, buildId: info.buildId, tags: info.tags, lines, failure, exists }))
