import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { withoutSender, type WithoutSenderOptions } from '../../receiver/without-sender.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { until } from '../support/processes.ts';

const WITHIN_MS = 45_000;
const DAY_MS = 86_400_000;
/** It looks once a second, by the machine's own clock. */
const LOOK_MS = 1300;

interface Scene {
  readonly clock: FakeClock;
  readonly server: { knownCount: number };
  readonly transfer: { opened: object | undefined; sealed: object | undefined };
  readonly reasons: string[];
  readonly watch: Disposable;
}

function makeScene(withinMs: number | undefined): Scene {
  const clock = new FakeClock();
  const server = { knownCount: 0 };
  const transfer: Scene['transfer'] = { opened: undefined, sealed: undefined };
  const reasons: string[] = [];
  const options = { clock, server, served: [{ transfer }], withinMs } as unknown as WithoutSenderOptions;
  return {
    clock,
    server,
    transfer,
    reasons,
    watch: withoutSender(options, (reason) => reasons.push(reason)),
  };
}

test('a receiver that no sender reaches ends, and says why', async () => {
  const { clock, reasons, watch } = makeScene(WITHIN_MS);
  using _watch = watch;
  await clock.advance(WITHIN_MS - 1);
  await delay(LOOK_MS);
  assert.deepEqual(reasons, []);
  await clock.advance(1);
  await until('its end', () => reasons.length > 0);
  await delay(LOOK_MS);
  assert.deepEqual(reasons, ['no sender for 45 s: ending']);
});

test('once a sender has come, an open transfer is waited for a day, and any other is not', async () => {
  const { clock, server, transfer, reasons, watch } = makeScene(WITHIN_MS);
  using _watch = watch;
  server.knownCount = 1;
  transfer.opened = {};
  await delay(LOOK_MS);
  server.knownCount = 0;
  await clock.advance(DAY_MS - 1);
  await delay(LOOK_MS);
  assert.deepEqual(reasons, []);
  transfer.sealed = {};
  await until('its end', () => reasons.length > 0);
});

test('an open transfer whose sender does not come back in this process ends as any other', async () => {
  const { clock, transfer, reasons, watch } = makeScene(WITHIN_MS);
  using _watch = watch;
  transfer.opened = {};
  await clock.advance(WITHIN_MS);
  await until('its end', () => reasons.length > 0);
});

test('without the option it waits', async () => {
  const { clock, reasons, watch } = makeScene(undefined);
  using _watch = watch;
  await clock.advance(10 * DAY_MS);
  await delay(LOOK_MS);
  assert.deepEqual(reasons, []);
});
