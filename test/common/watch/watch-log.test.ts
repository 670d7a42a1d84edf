import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WatchLog, type LogPosition } from '../../../common/watch/watch-log.ts';

const start = (): LogPosition => ({ messages: 0, points: 0, halvings: -1 });

test('each client gets each message and point once, a later one all of them', () => {
  const log = new WatchLog();
  const [first, second] = [start(), start()];
  log.add(1, 'info', 'one');
  log.point([1, 10, 20]);
  assert.deepEqual(log.since(first), {
    messages: [{ atMs: 1, level: 'info', text: 'one' }],
    points: [[1, 10, 20]],
    isAllPoints: true,
  });
  log.add(2, 'warning', 'two\nlines');
  log.point([2, 30, 40]);
  assert.deepEqual(log.since(first), {
    messages: [{ atMs: 2, level: 'warning', text: 'two · lines' }],
    points: [[2, 30, 40]],
    isAllPoints: false,
  });
  assert.deepEqual(log.since(first), { messages: [], points: [], isAllPoints: false });
  assert.equal(log.since(second).messages.length, 2);
});

test('days of it stay small: points are halved, and warnings outlive what was only said', () => {
  const log = new WatchLog();
  const position = start();
  log.add(0, 'warning', 'first');
  for (let second = 0; second < 100_000; second++) log.point([second, 8, 4]);
  for (let at = 0; at < 5000; at++) log.add(at, 'info', `info ${at}`);
  const { messages, points } = log.since(position);
  assert(points.length > 300 && points.length <= 1200, `${points.length} points`);
  assert(points.every(([, disk, line]) => disk === 8 && line === 4));
  assert((points[0]?.[0] ?? 0) < 300 && (points.at(-1)?.[0] ?? 0) > 99_000);
  assert.equal(messages.length, 500);
  assert.deepEqual([messages[0]?.text, messages.at(-1)?.text], ['first', 'info 4999']);
  for (let second = 0; second < 100_000; second++) log.point([second, 8, 4]);
  assert.equal(log.since(position).isAllPoints, true, 'after halving all are sent again');
});
