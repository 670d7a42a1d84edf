import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatDuration } from '../../../common/units.ts';
import { Eta } from '../../../sender/display/eta.ts';
import { prng } from '../../support/prng.ts';

const MIB = 1024 * 1024;
const HOUR = 3600;

function textOf({ leftMs }: Eta): string {
  return leftMs === undefined ? 'unknown' : formatDuration(leftMs);
}

/** Simulates a transfer. @param arrives bytes in that second. @returns what was shown each second. */
function run(totalBytes: number, seconds: number, arrives: (second: number) => number): string[] {
  const eta = new Eta();
  const shown: string[] = [];
  for (let second = 0, done = 0; second <= seconds && done < totalBytes; second++) {
    if (second > 0) done = Math.min(totalBytes, done + arrives(second));
    eta.add(second * 1000, done, totalBytes - done);
    shown.push(textOf(eta));
  }
  return shown;
}

/** How often it changed, and how often it grew. */
function changesOf(shown: readonly string[]): { changes: number; growths: number } {
  const seconds = shown.map(secondsOf);
  const pairs = seconds.slice(1).map((now, at) => now - (seconds[at] ?? 0));
  return { changes: pairs.filter((by) => by !== 0).length, growths: pairs.filter((by) => by > 0).length };
}

function secondsOf(text: string): number {
  const units: Record<string, number> = { d: 86_400, h: HOUR, m: 60, s: 1 };
  const parts = [...text.matchAll(/(\d+) ([dhms])/g)];
  return parts.reduce((sum, [, count, unit]) => sum + Number(count) * (units[unit ?? ''] ?? 0), 0);
}

test('there is no estimate until data has arrived for five seconds', () => {
  assert.equal(run(100 * MIB, 60, () => 0).at(-1), 'unknown');
  const shown = run(1000 * MIB, 6, () => MIB);
  assert.deepEqual(
    shown.slice(0, 5),
    Array.from({ length: 5 }, () => 'unknown'),
  );
  assert.equal(shown[5], '17 m');
  assert.equal(run(2 * MIB, 2, () => MIB).at(-1), '0 s', 'nothing is left');
});

test('at a constant rate it counts down in sensible steps', () => {
  const shown = run(1000 * MIB, 2000, () => MIB);
  const { growths } = changesOf(shown.slice(5));
  assert.equal(growths, 0);
  assert.equal(shown[100], '15 m');
  assert.equal(shown[700], '5 m');
  assert.equal(shown[985], '15 s');
  assert.equal(shown.at(-1), '0 s');
  for (const text of shown.slice(5)) assert.match(text, /^(\d+ m|[2-9] m 30 s|1 m \d?[05] s|\d\d? s)$/);
});

test('on a line of changing rate it changes rarely, and stays near the truth', () => {
  const random = prng(11);
  const shown = run(10 * HOUR * MIB, 2 * HOUR, () => MIB * (0.5 + random.below(1000) / 1000));
  const { changes, growths } = changesOf(shown.slice(300));
  assert(changes < 40, `${changes} changes in two hours`);
  assert(growths <= 4, `${growths} growths`);
  for (let second = 600; second < 2 * HOUR; second += 100) {
    const truth = 10 * HOUR - second;
    assert(Math.abs(secondsOf(shown[second] ?? '') / truth - 1) < 0.1, `${second}: ${shown[second]}`);
  }
});

test('bursts half a minute apart do not disturb it', () => {
  const shown = run(2 * HOUR * MIB, 2 * HOUR, (second) => (second % 32 === 0 ? 32 * MIB : 0));
  const { changes } = changesOf(shown.slice(300, HOUR));
  assert(changes <= 20, `${changes} changes in 55 minutes`);
  for (let second = 300; second < 2 * HOUR - 300; second += 50) {
    const truth = 2 * HOUR - second;
    assert(Math.abs(secondsOf(shown[second] ?? '') / truth - 1) < 0.15, `${second}: ${shown[second]}`);
  }
});

test('it follows a line that becomes slower for good', () => {
  const shown = run(2 * HOUR * MIB, 6000, (second) => (second < 600 ? MIB : MIB / 2));
  assert(Math.abs(secondsOf(shown[3600] ?? '') / (2 * (2 * HOUR - 600) - 3000) - 1) < 0.1);
});

test('an outage does not count: afterwards the estimate is as before', () => {
  const eta = new Eta();
  const totalBytes = 3600 * MIB;
  for (let second = 0; second <= 600; second++)
    eta.add(second * 1000, second * MIB, totalBytes - second * MIB);
  assert.equal(textOf(eta), '50 m');
  for (let second = 601; second <= 1200; second++) eta.skip(second * 1000, 600 * MIB);
  for (let second = 1201; second <= 1205; second++) {
    const done = (second - 600) * MIB;
    eta.add(second * 1000, done, totalBytes - done);
  }
  assert.equal(textOf(eta), '50 m');
});

test('between two steps it keeps the one that is shown', () => {
  const eta = new Eta();
  const shown: string[] = [];
  for (let second = 0; second < 1200; second++) {
    // 10 m 30 s, and a little more and less in turn: rounded it would be 10 and 11 minutes.
    const leftSeconds = 630 + 30 * Math.sin(second / 30);
    eta.add(second * 1000, second * MIB, leftSeconds * MIB);
    if (second >= 200) shown.push(textOf(eta));
  }
  assert.equal(changesOf(shown).changes, 0, [...new Set(shown)].join());
});
