/** The board: what it says of a fleet, and that it fits any terminal. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { boardLines, countsText, totalsOf, totalsText } from '../../fleet/board-text.ts';
import { readJobs } from '../../fleet/job.ts';
import { JobState } from '../../fleet/job-state.ts';
import { readTable } from '../../fleet/table.ts';

const GIB = 2 ** 30;
const PROGRESS = {
  event: 'progress',
  percent: 25,
  bytesTotal: 4 * GIB,
  bytesArrived: GIB,
  bytesPerSecond: 16 * 2 ** 20,
  secondsLeft: 192,
  blocksDurable: 5,
};

function statesOf(count: number): JobState[] {
  const rows = Array.from(
    { length: count },
    (_, at) => `- { source: /dev/sd${at}, target: "vm:/dev/vd${at}" }`,
  );
  const { jobs } = readJobs(readTable(rows.join('\n'), 'yaml'), []);
  return jobs.map((job) => new JobState(job, undefined));
}

function scene(): JobState[] {
  const states = statesOf(6);
  const [one, two, three, four, five] = states;
  assert(one && two && three && four && five);
  one.begin();
  one.take(PROGRESS);
  two.begin();
  two.take({ event: 'waiting', message: 'waiting for the receiver: connection refused' });
  three.begin();
  three.pause('the login was lost');
  four.begin();
  four.take(PROGRESS);
  four.finish('complete', undefined);
  five.finish('failed', 'no such disk');
  return states;
}

test('the board has a line for all, and one for each job that runs or is paused', () => {
  const lines = boardLines(scene(), { columns: 120, rows: 24, hasBlocks: false });
  assert.deepEqual(lines, [
    'fleet    2 running, 2 waiting, 1 complete, 1 failed of 6  5 GiB  134.2 Mbit/s  ETA unknown',
    'sd0-to-vm-vd0   25 % [##        ]          1 GiB of 4 GiB  134.2 Mbit/s  ETA 3 m 12 s',
    'sd1-to-vm-vd1        waiting for the receiver: connection refused',
    'sd2-to-vm-vd2  waits for a restart  the login was lost',
  ]);
});

test('the time for all is that of the bytes that are left, when all sizes are known', () => {
  const states = scene();
  for (const state of states) state.bytesTotal ??= 4 * GIB;
  const totals = totalsOf(states);
  // What has failed does not count.
  assert.equal(totals.bytesTotal, 20 * GIB);
  assert.equal(totals.bytesArrived, 5 * GIB);
  assert.equal(totals.secondsLeft, 960);
  assert.match(totalsText(totals), / {2}5 GiB of 20 GiB {2}134\.2 Mbit\/s {2}ETA 16 m$/);
  assert.equal(countsText(totalsOf([])), 'no job');
});

test('the board fits every terminal, and counts what it has no room for', () => {
  const states = statesOf(50);
  for (const state of states) {
    state.begin();
    state.take(PROGRESS);
  }
  for (const columns of [1, 10, 40, 80, 300]) {
    for (const rows of [1, 3, 10, 100]) {
      const lines = boardLines(states, { columns, rows, hasBlocks: true });
      assert(lines.length <= Math.max(2, rows - 1), `${lines.length} lines of ${rows}`);
      for (const line of lines) assert(line.length < Math.max(2, columns), `${line.length} of ${columns}`);
    }
  }
  const lines = boardLines(states, { columns: 80, rows: 10, hasBlocks: true });
  assert.equal(lines.at(-1), '… and 43 more');
});

test('an attempt has made progress when more is durable than after the last one', () => {
  const [state] = statesOf(1);
  assert(state);
  assert(!state.hasProgressed());
  state.take(PROGRESS);
  assert(state.hasProgressed());
  state.take(PROGRESS);
  assert(!state.hasProgressed());
});
