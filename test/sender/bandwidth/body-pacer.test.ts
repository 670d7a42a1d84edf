import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BodyPacer } from '../../../sender/bandwidth/body-pacer.ts';
import { TokenBucket } from '../../../sender/bandwidth/token-bucket.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { prng } from '../../support/prng.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const NEVER = new AbortController().signal;

interface LaneOptions {
  readonly signal?: AbortSignal;
  /** What the connection takes. */
  readonly bytesPerSecond?: number;
}

interface Scene {
  readonly clock: FakeClock;
  readonly pacer: BodyPacer;
  limit: number | undefined;
  /** Chunks of all bodies, in the order in which they went out. */
  readonly sent: { readonly atMs: number; readonly lane: number; readonly bytes: number }[];
  /** Sends bodies one after the other. */
  lane(lane: number, bodyBytes: number, bodies: number, options?: LaneOptions): Promise<void>;
  bytesBetween(fromMs: number, untilMs: number): number;
}

function scene(limit: number | undefined): Scene {
  const clock = new FakeClock();
  const all: Scene = {
    clock,
    limit,
    pacer: new BodyPacer({ clock, limit: () => all.limit }),
    sent: [],
    async lane(lane, bodyBytes, bodies, { signal = NEVER, bytesPerSecond = Infinity } = {}) {
      for (let count = 0; count < bodies; count++) {
        using body = await all.pacer.enter(Buffer.alloc(bodyBytes), signal);
        assert.equal(body.headers['content-length'], String(bodyBytes));
        for await (const { length } of body.chunks) {
          all.sent.push({ atMs: clock.monotonicMs(), lane, bytes: length });
          if (bytesPerSecond !== Infinity) await clock.sleep((length * 1000) / bytesPerSecond, signal);
        }
      }
    },
    bytesBetween: (fromMs, untilMs) =>
      all.sent
        .filter(({ atMs }) => atMs >= fromMs && atMs < untilMs)
        .reduce((sum, { bytes }) => sum + bytes, 0),
  };
  return all;
}

test('a bucket keeps its rate over any ten seconds, however uneven the demand', () => {
  const random = prng(3);
  for (const rate of [1024, 8 * KIB, MIB, 300 * MIB]) {
    const bucket = new TokenBucket();
    bucket.setRate(rate, 0);
    const taken: { atMs: number; bytes: number }[] = [];
    for (let nowMs = 0; nowMs < 60_000;) {
      const waitMs = bucket.waitMs(nowMs);
      if (waitMs > 0) nowMs += waitMs + random.below(5);
      else {
        const bytes = 1 + random.below(Math.ceil(rate / 32));
        bucket.take(bytes, nowMs);
        taken.push({ atMs: nowMs, bytes });
      }
      // Now and then there is no demand for a while.
      if (random.below(2000) === 0) nowMs += 3000;
    }
    for (let fromMs = 0; fromMs < 50_000; fromMs += 500) {
      const within = taken.filter(({ atMs }) => atMs >= fromMs && atMs < fromMs + 10_000);
      const bytes = within.reduce((sum, each) => sum + each.bytes, 0);
      assert(bytes <= 10 * rate * 1.035, `${bytes} of ${10 * rate} from ${fromMs} on`);
    }
  }
});

test('bytes owed at a high rate are not waited for at a low one', () => {
  const bucket = new TokenBucket();
  bucket.setRate(100 * MIB, 0);
  bucket.take(MIB, 0);
  assert(bucket.waitMs(0) > 0);
  bucket.setRate(KIB, 1);
  assert.equal(bucket.waitMs(1), 0);
});

test('all lanes together keep any limit, however many they are', async () => {
  for (const [limit, lanes] of [
    [KIB, 2],
    [8 * KIB, 64],
    [MIB, 8],
    [MIB, 64],
    [20 * MIB, 16],
  ] as const) {
    const all = scene(limit);
    const stop = new AbortController();
    const running = Array.from({ length: lanes }, async (_, lane) =>
      all.lane(lane, 4 * MIB, 1000, { signal: stop.signal }).catch(() => {}),
    );
    await all.clock.advance(limit > MIB ? 11_000 : 31_000);
    const rate = all.bytesBetween(1000, 11_000) / 10;
    // What TLS adds counts as well; and one chunk more or less.
    assert(rate < limit * 1.01 && rate > limit * 0.95 - 60, `${rate} of ${limit}, ${lanes} lanes`);
    stop.abort(new Error('enough'));
    await Promise.all(running);
  }
});

test('at a low limit bodies go out one after the other, and the others have not begun', async () => {
  const all = scene(8 * KIB);
  const stop = new AbortController();
  const running = Array.from({ length: 64 }, async (_, lane) =>
    all.lane(lane, 256 * KIB, 1, { signal: stop.signal }).catch(() => {}),
  );
  await all.clock.advance(120_000);
  assert.deepEqual([...new Set(all.sent.map(({ lane }) => lane))], [0, 1, 2, 3]);
  const lanes = all.sent.map(({ lane }) => lane);
  assert.deepEqual(
    lanes,
    lanes.toSorted((a, b) => a - b),
    'each one is whole before the next begins',
  );
  const gaps = all.sent.map(({ atMs }, at) => atMs - (all.sent[at - 1]?.atMs ?? 0));
  assert(Math.max(...gaps) < 1000, 'the line is never idle');
  stop.abort(new Error('enough'));
  await Promise.all(running);
});

test('bodies in flight when the limit falls continue: none stands still for a minute', async () => {
  for (const [limit, stillSeconds] of [
    [8 * KIB, 5],
    [KIB, 36],
  ] as const) {
    const all = scene(undefined);
    all.limit = 64 * MIB;
    const stop = new AbortController();
    const running = Array.from({ length: 64 }, async (_, lane) =>
      all.lane(lane, 4 * MIB, 9, { signal: stop.signal }).catch(() => {}),
    );
    await all.clock.advance(1000);
    assert.equal(new Set(all.sent.map(({ lane }) => lane)).size, 64);
    all.limit = limit;
    await all.clock.advance(200_000);
    for (let lane = 0; lane < 64; lane++) {
      const times = all.sent.filter((each) => each.lane === lane).map(({ atMs }) => atMs);
      const gaps = [...times, 201_000].map((time, at) => time - (times[at - 1] ?? 0));
      assert(Math.max(...gaps) < stillSeconds * 1000, `${limit}: ${Math.max(...gaps)} ms`);
    }
    stop.abort(new Error('enough'));
    await Promise.all(running);
  }
});

test('a limit that is lifted or changed applies from the next chunk on', async () => {
  const all = scene(KIB);
  const running = all.lane(0, 40 * KIB, 1);
  await all.clock.advance(10_000);
  assert(Math.abs(all.bytesBetween(0, 10_000) - 10 * KIB) <= KIB);
  all.limit = 4 * KIB;
  await all.clock.advance(5000);
  assert(Math.abs(all.bytesBetween(10_000, 15_000) - 20 * KIB) <= 2 * KIB);
  all.limit = undefined;
  await all.clock.advance(300);
  await running;
  assert.equal(all.bytesBetween(0, Infinity), 40 * KIB);
});

test('while there is no limit nothing waits', async () => {
  const all = scene(undefined);
  await Promise.all(Array.from({ length: 64 }, async (_, lane) => await all.lane(lane, MIB, 4)));
  assert.equal(all.clock.monotonicMs(), 0);
  assert.equal(all.bytesBetween(0, 1), 64 * 4 * MIB);
});

test('a body that ends early gives its place and its turn to the others', async () => {
  const all = scene(8 * KIB);
  const first = await all.pacer.enter(Buffer.alloc(MIB), NEVER);
  const chunks = first.chunks[Symbol.asyncIterator]();
  await chunks.next();
  const waiting = chunks.next();
  const second = all.lane(1, KIB, 1);
  const given = new AbortController();
  const fourth = all.lane(3, KIB, 1, { signal: given.signal });
  const third = all.lane(2, KIB, 1);
  given.abort(new Error('given up'));
  first[Symbol.dispose]();
  await assert.rejects(waiting);
  await assert.rejects(fourth, /given up/);
  await all.clock.runToEnd(Promise.all([second, third]));
  assert.equal(all.bytesBetween(0, Infinity), 2 * KIB);
});

test('a body goes out for ten seconds at most, unless connections cannot use up the limit', async () => {
  for (const { bytesPerSecond, bodiesMax, rateMin } of [
    { bytesPerSecond: Infinity, bodiesMax: 2, rateMin: 0.95 },
    // Lossy connections: two carry a fifth of the limit.
    { bytesPerSecond: MIB / 10, bodiesMax: 16, rateMin: 0.95 },
  ]) {
    const all = scene(MIB);
    const stop = new AbortController();
    const running = Array.from({ length: 16 }, async (_, lane) =>
      all.lane(lane, 4 * MIB, 1000, { signal: stop.signal, bytesPerSecond }).catch(() => {}),
    );
    await all.clock.advance(60_000);
    const lanes = new Set(all.sent.filter(({ atMs }) => atMs > 50_000).map(({ lane }) => lane));
    const rate = all.bytesBetween(30_000, 60_000) / 30;
    assert(rate >= rateMin * MIB, `${rate} with ${lanes.size} lanes`);
    const inFlight = new Set(
      all.sent.filter(({ atMs }) => atMs > 50_000 && atMs < 50_400).map(({ lane }) => lane),
    );
    assert(inFlight.size <= bodiesMax, `${inFlight.size}`);
    stop.abort(new Error('enough'));
    await Promise.all(running);
  }
});
