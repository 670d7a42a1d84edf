/** A folder, a prefix in a bucket of a real Ceph, and receivers in front of it. */
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ObjectStore } from '../../common/store/object-store.ts';
import type { CephGateway } from './ceph.ts';
import { openStore, storeEnvironment } from './object-store.ts';
import { sendAll, startReceiver, type Done, type Receiver, type ReceiverOptions } from './processes.ts';
import { tempDir } from './temp-dir.ts';

/** Of all that is copied. */
export const STORE_BLOCK = ['--block-size', '64KiB'];

export interface StorePlace extends AsyncDisposable {
  readonly folder: string;
  readonly store: ObjectStore;
  readonly env: NodeJS.ProcessEnv;
  /** @param name of the copy. */
  receiver(name: string, options?: Partial<ReceiverOptions>): Promise<Receiver>;
  /** @returns what was sent; the receiver is started and stopped for it. */
  copy(name: string, disk: Buffer, ...options: readonly string[]): Promise<Done>;
}

/** @param prefix in the bucket `disks`, which exists. */
export async function storePlace(gateway: CephGateway, prefix: string): Promise<StorePlace> {
  await using building = new AsyncDisposableStack();
  const folder = building.use(await tempDir());
  const store = building.use(await openStore(gateway, `s3://disks/${prefix}`));
  const env = storeEnvironment(gateway);
  const receiver: StorePlace['receiver'] = async (name, options = {}) => {
    const own = join(folder.path, `receiver-${name}`);
    await mkdir(own, { recursive: true });
    return await startReceiver({ folder: own, target: `${store.name.store}#${name}`, env, ...options });
  };
  const copy: StorePlace['copy'] = async (name, disk, ...options) => {
    const source = join(folder.path, name);
    await writeFile(source, disk);
    await using running = await receiver(name);
    const done = await sendAll(...STORE_BLOCK, ...options, '--ticket-file', running.ticketFile, source);
    assert.equal((await running.end('SIGTERM')).status, 0, running.process.stderr);
    return done;
  };
  const parts = building.move();
  const dispose = async (): Promise<void> => await parts.disposeAsync();
  return { folder: folder.path, store, env, receiver, copy, [Symbol.asyncDispose]: dispose };
}
