/** A lane without a line: what a test does not give it must not be asked for. */
import assert from 'node:assert/strict';
import type { ReceiverClient } from '../../sender/client/receiver-port.ts';

export type FakeLane = { -readonly [Name in keyof ReceiverClient]: ReceiverClient[Name] };

export function fakeLane(given: Partial<ReceiverClient> = {}): FakeLane {
  const unasked = async (): Promise<never> => await Promise.reject(assert.fail('it was not to be asked'));
  return {
    bytesWire: 0,
    isConnected: true,
    standstillMs: undefined,
    acknowledgedBytes: 0,
    refreshAcknowledged: async () => {},
    transfer: unasked,
    claim: unasked,
    listDigests: unasked,
    headBlock: unasked,
    readBlock: unasked,
    reopen: unasked,
    putBlock: unasked,
    copyBlock: unasked,
    zero: unasked,
    flush: unasked,
    complete: unasked,
    verify: unasked,
    prove: unasked,
    probeTarget: unasked,
    probeLine: unasked,
    close: async () => {},
    ...given,
  };
}
