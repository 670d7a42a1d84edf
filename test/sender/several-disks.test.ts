import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TransferError, exitStatusOf, type ErrorCode } from '../../common/errors.ts';
import { sendSeveral, type DiskToSend } from '../../sender/several-disks.ts';
import { coded } from '../support/coded.ts';

interface Outcome {
  readonly isSealed?: boolean;
  readonly status?: number;
  readonly error?: TransferError;
}

/** What was done, in order, and the exit status. */
async function sent(
  outcomes: readonly Outcome[],
): Promise<{ steps: string[]; results: string[]; status: number }> {
  const steps: string[] = [];
  const results: string[] = [];
  const disks = outcomes.map(({ isSealed = false, status = 0, error }, at): DiskToSend => {
    const source = `/dev/s${at}`;
    return {
      source,
      meet: async () => {
        steps.push(`meet ${source}`);
        const target = { path: `/dev/t${at}` } as Awaited<ReturnType<DiskToSend['meet']>>['target'];
        return await Promise.resolve({ state: isSealed ? 'sealed' : 'open', target });
      },
      send: async () => {
        steps.push(`send ${source}`);
        if (error !== undefined) throw error;
        return await Promise.resolve(status);
      },
    };
  });
  const reporter = {
    disk: ({
      number,
      count,
      source,
      target,
    }: {
      number: number;
      count: number;
      source: string;
      target: string;
    }) => void steps.push(`${number}/${count} ${source} ${target}`),
    results: (sentences: readonly string[]) =>
      void results.push(...sentences.map((text) => text.replace(/^.*: /, ''))),
  };
  const status = await sendSeveral(disks, { reporter, fail: (error) => exitStatusOf(error.kind) });
  return { steps, results, status };
}

function failed(code: ErrorCode, cause?: TransferError): Outcome {
  return { error: new TransferError(code, `it is ${code}`, { cause }) };
}

test('all are met before the first is sent; what is complete comes last', async () => {
  const { steps, results, status } = await sent([{ isSealed: true }, {}, { isSealed: true }, {}]);
  assert.deepEqual(steps, [
    ...[0, 1, 2, 3].map((at) => `meet /dev/s${at}`),
    ...[1, 3, 0, 2].flatMap((at) => [`${at + 1}/4 /dev/s${at} /dev/t${at}`, `send /dev/s${at}`]),
  ]);
  assert.deepEqual([results, status], [['verified', 'verified', 'verified', 'verified'], 0]);
});

test('the exit status is the highest, and a failure of one disk does not stop the others', async () => {
  for (const code of [
    'source-read',
    'io-error',
    'journal-error',
    'target-too-small',
    'transfer-mismatch',
  ] as const) {
    const { results, status } = await sent([failed(code), { status: 3 }, {}]);
    const own = exitStatusOf(new TransferError(code, '').kind);
    assert.deepEqual(results, [`failed (exit status ${own})`, 'finished, not proven', 'verified']);
    assert.equal(status, own);
  }
});

test('what concerns the receiver as a whole stops all', async () => {
  const unreachable = new TransferError('connection-failed', 'no answer');
  for (const outcome of [failed('no-progress', unreachable), failed('no-progress'), failed('pin-mismatch')]) {
    const { results } = await sent([{}, outcome, {}]);
    assert.deepEqual([results[0], results[2]], ['verified', 'not begun']);
  }
  const full = failed('no-progress', new TransferError('no-space', 'it is full'));
  assert.deepEqual((await sent([full, {}])).results[1], 'verified');
  await assert.rejects(sent([failed('interrupted'), {}]), coded('interrupted'));
});
