import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AreaReport } from '../../common/area-report.ts';
import type { Area } from '../../common/areas.ts';
import { FakeClock } from '../support/fake-clock.ts';

test('each area is reported once: the first at once, a thousand more in a line or two', async () => {
  const clock = new FakeClock();
  const said: Area[][] = [];
  const report = new AreaReport(clock, (areas) => void said.push([...areas]));
  report.add([]);
  report.add([[0, 512]]);
  assert.deepEqual(said, [[[0, 512]]]);
  for (let at = 1; at <= 1000; at++) report.add([[at * 1024, 512]]);
  report.add([[512_512, 512]]);
  report.reportIfDue();
  assert.deepEqual(said, [[[0, 512]]]);
  await clock.advance(10_000);
  report.reportIfDue();
  assert.equal(said.length, 2);
  assert.equal(said.at(-1)?.length, 999);
  await clock.advance(1000);
  report.add([[2_000_000, 512]]);
  assert.equal(said.length, 2);
  report.report();
  report.report();
  assert.deepEqual(said.slice(2), [[[2_000_000, 512]]]);
});
