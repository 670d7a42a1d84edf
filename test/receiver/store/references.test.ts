import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { encodeManifest } from '../../../common/store/manifest.ts';
import { readReferences } from '../../../receiver/store/references.ts';
import { SimulatedService, SimulatedStore } from '../../simulation/sim-store.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { KIB } from '../../support/processes.ts';
import { prng } from '../../support/prng.ts';
import { signedReceipt } from '../../support/signed-copy.ts';

const TRIES = 40;

test('a manifest is found whenever it is sealed meanwhile', async () => {
  const digests = randomBytes(32);
  const signed = signedReceipt({ size: 64 * KIB, blockSize: 64 * KIB, digests });
  const manifest = encodeManifest({ name: 'web1', ...signed }, digests);
  let movedAfterMs = 0;
  for (let seed = 1; seed <= TRIES; seed++) {
    const clock = new FakeClock();
    const service = new SimulatedService(clock, prng(seed));
    service.put(`chunks/${digests.toString('hex')}`, Buffer.alloc(1));
    service.put('pending/web1/id', manifest);
    const reading = readReferences(new SimulatedStore(service).asStore);
    const sealing = async (): Promise<void> => {
      movedAfterMs = (movedAfterMs + 97) % 2500;
      await clock.sleep(movedAfterMs);
      service.put('copies/web1/2026-11-29T14:30:00.000Z-id', manifest);
      await clock.sleep(1);
      service.delete('pending/web1/id');
    };
    const [references] = await clock.runToEnd(Promise.all([reading, sealing()]));
    assert.equal(references.get(digests), 1, `after ${movedAfterMs} ms`);
  }
});
