/**
 * Runs all tests, or the files given as arguments, with Node's test runner. Just before the runner's summary
 * it says what was skipped and what to install; with DDT_REQUIRE_ALL=1, as in CI, a skipped test is a
 * failure.
 */
import { resolve } from 'node:path';
import { run } from 'node:test';
import { spec, type TestEvent } from 'node:test/reporters';
import { gapsIn, skipLines, skippedBy, type Skipped } from '../test/support/skip-report.ts';

/** More make the tests that watch the clock fail on two processors. */
const CONCURRENCY = 2;

const isAllRequired = process.env['DDT_REQUIRE_ALL'] === '1';
const files = process.argv.slice(2).map((path) => resolve(path));
const selection = files.length > 0 ? { files } : { globPatterns: ['test/**/*.test.ts'] };

/** Passes the events on, and inserts a few of its own before the summary. */
async function* withSkips(events: AsyncIterable<TestEvent>): AsyncGenerator<TestEvent> {
  const skipped: Skipped[] = [];
  for await (const event of events) {
    const one = skippedBy(event);
    if (one !== undefined) skipped.push(one);
    if (event.type === 'test:summary' && event.data.file === undefined) {
      const isGood = event.data.success && !(isAllRequired && gapsIn(skipped).length > 0);
      if (!isGood) process.exitCode = 1;
    }
    // The first line of the summary, which is about no file.
    if (event.type === 'test:diagnostic' && /^tests \d+$/.test(event.data.message)) {
      for (const message of skipLines(skipped, isAllRequired)) {
        yield { type: 'test:diagnostic', data: { ...event.data, message } };
      }
    }
    yield event;
  }
}

run({ ...selection, concurrency: CONCURRENCY })
  .compose(withSkips)
  .compose(spec)
  .pipe(process.stdout);
