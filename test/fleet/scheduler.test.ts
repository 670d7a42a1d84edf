/** The scheduler: random tables of a thousand jobs on a model line, and the cases that matter one by one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OVERTAKEN_MAX, PAUSE_MS_MAX, Scheduler, type SchedulerOptions } from '../../fleet/scheduler.ts';
import { prng } from '../support/prng.ts';
import { ModelJournal, ModelRun, randomJobs, type ModelOptions } from './fleet-model.ts';

const SEEDS = 12;
const JOBS = 1000;
const OPTIONS: SchedulerOptions = {
  atOnceMax: 2,
  atOncePerHostMax: 1,
  attemptsMax: 3,
  pauseMs: 1000,
  random: () => 1,
};

const job = (key: string, ...hosts: string[]): { key: string; hosts: string[] } => ({ key, hosts });

for (let seed = 1; seed <= SEEDS; seed++) {
  test(`a thousand jobs end once each, within the limits, however often it is killed: seed ${seed}`, () => {
    const random = prng(seed);
    const jobs = randomJobs(random, JOBS);
    const options: ModelOptions = {
      atOnceMax: 1 + random.below(60),
      atOncePerHostMax: 1 + random.below(4),
      attemptsMax: 2 + random.below(8),
      pauseMs: 1 + random.below(60_000),
      lineBytesPerMs: 1 + random.below(100),
    };
    const journal = new ModelJournal();
    for (let kills = random.below(5); kills > 0; kills--) {
      new ModelRun(jobs, options, random, journal).run(random.below(500_000));
    }
    assert(new ModelRun(jobs, options, random, journal).run());
    assert.equal(journal.results.size, JOBS);
    for (const { key, isHopeless } of jobs) {
      const result = journal.results.get(key);
      if (isHopeless) assert.equal(result, 'failed', key);
      else if (result === 'failed') assert(options.attemptsMax <= 4, `${key} had enough attempts`);
    }
    const last = new ModelRun(jobs, options, random, journal);
    assert(last.run());
    for (const { key, isHopeless } of jobs) {
      if (journal.results.get(key) === 'complete' && !isHopeless) continue;
      assert((last.starts.get(key) ?? 0) > 0, `${key} is tried again`);
    }
  });
}

test('jobs start in the order of the table, and a machine that is full holds up only its own', () => {
  const jobs = [job('1', 'a', 'x'), job('2', 'a', 'y'), job('3', 'b', 'z'), job('4', 'c', 'u')];
  const scheduler = new Scheduler(jobs, OPTIONS);
  assert.deepEqual(scheduler.start(0), ['1', '3']);
  assert.deepEqual(scheduler.start(0), []);
  scheduler.ended('1', { how: 'over' }, 1);
  assert.deepEqual(scheduler.start(1), ['2']);
});

test('a job whose two machines are never free together is not overtaken forever', () => {
  const others = Array.from({ length: 100 }, (_, at) => job(`${at}`, at % 2 === 0 ? 'a' : 'b'));
  const [first, second, ...rest] = others;
  assert(first !== undefined && second !== undefined);
  const scheduler = new Scheduler([first, second, job('both', 'a', 'b'), ...rest], OPTIONS);
  const started = [...scheduler.start(0)];
  let ended = 0;
  while (!started.includes('both')) {
    // The one that began first ends: the other machine is always busy.
    scheduler.ended(started[ended++] ?? '', { how: 'over' }, ended);
    started.push(...scheduler.start(ended));
  }
  assert.equal(started.indexOf('both'), 2 + OVERTAKEN_MAX);
});

test('pauses double up to a limit, and progress starts them over', () => {
  const scheduler = new Scheduler([job('1', 'a')], { ...OPTIONS, attemptsMax: 30 });
  const pauses: number[] = [];
  let nowMs = 0;
  const fail = (hasProgressed: boolean): void => {
    assert.deepEqual(scheduler.start(nowMs), ['1']);
    const verdict = scheduler.ended('1', { how: 'again', hasProgressed }, nowMs);
    assert(typeof verdict === 'object');
    pauses.push(verdict.pauseMs);
    assert.deepEqual(scheduler.start(nowMs + verdict.pauseMs - 1), []);
    nowMs = scheduler.nextMs(nowMs) ?? NaN;
  };
  for (let count = 0; count < 3; count++) fail(false);
  assert.deepEqual(pauses, [1000, 2000, 4000]);
  fail(true);
  assert.equal(pauses.at(-1), 1000);
  for (let count = 0; count < 20; count++) fail(false);
  assert.equal(pauses.at(-1), PAUSE_MS_MAX);
});

test('attempts without progress are counted, and then it is given up', () => {
  const scheduler = new Scheduler([job('1', 'a')], OPTIONS);
  const verdicts = [false, false, true, false, false].map((hasProgressed, at) => {
    scheduler.start(at * PAUSE_MS_MAX);
    return scheduler.ended('1', { how: 'again', hasProgressed }, at * PAUSE_MS_MAX);
  });
  assert.deepEqual(
    verdicts.map((verdict) => typeof verdict),
    ['object', 'object', 'object', 'object', 'string'],
  );
  assert.equal(verdicts.at(-1), 'given-up');
  assert(scheduler.isOver);
});

test('after a stop nothing starts, and it is over when the last attempt has ended', () => {
  const scheduler = new Scheduler([job('1', 'a'), job('2', 'b'), job('3', 'c')], OPTIONS);
  scheduler.start(0);
  scheduler.stop();
  scheduler.ended('1', { how: 'again', hasProgressed: true }, 1);
  assert.deepEqual(scheduler.start(PAUSE_MS_MAX), []);
  assert.equal(scheduler.nextMs(1), undefined);
  assert(!scheduler.isOver);
  scheduler.ended('2', { how: 'over' }, 2);
  assert(scheduler.isOver);
});
