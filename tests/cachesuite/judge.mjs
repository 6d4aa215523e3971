// The suite's own verdict on a set of results: `node judge.mjs SUITE < results.json > verdicts.json`.
// What counts as passed, and that a test counts only when those it depends on have passed, is
// decided by the suite's function; here its symbols become words. Browser tests are left out.
import { existsSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'

const WORDS = {
  '✅': 'pass',
  '⛔️': 'fail',
  '⚠️': 'fail', // of an optimal test
  Y: 'yes',
  N: 'no',
  '🔹': 'setup', // something before the subject of the test went wrong
  '⚪️': 'dependency', // a test that this one builds on has failed
  '⁉️': 'harness',
  '↻': 'retry', // the origin has seen a request twice
  '-': 'untested'
}

const base = pathToFileURL(process.argv[2] + '/')
const load = path => import(new URL(path, base).href)
const suites = (await load('tests/index.mjs')).default
let judge
if (existsSync(new URL('test-engine', base))) { // since 2024
  judge = (await load('test-engine/lib/results.mjs')).determineTestResult
} else {
  suites.push((await load('tests/surrogate-control.mjs')).default)
  judge = (await load('lib/display.mjs')).determineTestResult
}

const results = JSON.parse(await text(process.stdin))
const verdicts = []
for (const suite of suites) {
  for (const test of suite.tests.filter(test => test.browser_only !== true)) {
    const result = results[test.id]
    verdicts.push({
      id: test.id,
      chapter: suite.id,
      name: test.name,
      kind: test.kind ?? 'required',
      word: WORDS[judge(suites, test.id, results)[2]],
      detail: Array.isArray(result) ? result.join(': ') : ''
    })
  }
}
process.stdout.write(JSON.stringify(verdicts))
