import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { test } from 'node:test';
import { abortable } from '../../common/abortable.ts';

const forever = async (): Promise<never> => await new Promise<never>(() => {});

test('it settles as the promise does, and stops listening to the signal', async () => {
  const { signal } = new AbortController();
  assert.equal(await abortable(Promise.resolve(5), signal), 5);
  assert.equal(await abortable(Promise.resolve(5), undefined), 5);
  await assert.rejects(abortable(Promise.reject(new Error('failed')), signal), { message: 'failed' });
  assert.equal(getEventListeners(signal, 'abort').length, 0);
});

test('an abort wins over a promise that never settles, has settled, or fails later', async () => {
  const reason = new Error('the reason');
  const controller = new AbortController();
  const waiting = abortable(forever(), controller.signal);
  const { promise, reject } = Promise.withResolvers<never>();
  const failing = abortable(promise, controller.signal);
  controller.abort(reason);
  await assert.rejects(waiting, reason);
  await assert.rejects(failing, reason);
  await assert.rejects(abortable(Promise.resolve(5), controller.signal), reason);
  assert.equal(getEventListeners(controller.signal, 'abort').length, 0);
  // An unhandled rejection would fail the test.
  reject(new Error('too late'));
});

test('a reason that is not an error becomes an interruption', async () => {
  await assert.rejects(abortable(forever(), AbortSignal.abort('a text')), { code: 'interrupted' });
});
