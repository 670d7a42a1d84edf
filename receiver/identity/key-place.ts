/** Where the receiver's own keys are: in its state folder, or in the object store that its copies are in. */
import { dirname, join } from 'node:path';
import { TransferError, reasonOf } from '../../common/errors.ts';
import { writeFileDurably } from '../../common/io/durable-file.ts';
import type { ObjectStore } from '../../common/store/object-store.ts';
import { makeSecret, readIfThere, readSecret } from './secret-file.ts';
import { stateWriteError, type Refuse } from './state-dir.ts';

const PUBLIC_MODE = 0o644;
const FOLDER = 'keys/';

export interface KeyPlace {
  /** Of messages. */
  pathOf(name: string): string;
  /** How all of these are removed, for a hint. */
  removal(names: readonly string[]): string;
  readPublic(name: string, refuse: Refuse): Promise<string | undefined>;
  readSecret(name: string, refuse: Refuse): Promise<string | undefined>;
  /** Made once. @returns what is there then: that of another receiver where that one was faster. */
  makeSecret(name: string, text: string, refuse: Refuse): Promise<string>;
  /** What can be made again from the secrets. */
  writePublic(name: string, text: string): Promise<void>;
}

/** @param stateDir prepared. */
export function keysInFolder(stateDir: string): KeyPlace {
  const pathOf = (name: string): string => join(stateDir, name);
  return {
    pathOf,
    removal: (names) => `rm -f ${names.map(pathOf).join(' ')}`,
    readPublic: async (name, refuse) => await readIfThere(pathOf(name), refuse),
    readSecret: async (name, refuse) => await readSecret(pathOf(name), refuse),
    makeSecret: async (name, text, refuse) => await makeSecret(pathOf(name), text, refuse),
    writePublic: async (name, text) => {
      try {
        await writeFileDurably(pathOf(name), text, PUBLIC_MODE);
      } catch (error) {
        throw stateWriteError(dirname(pathOf(name)), error);
      }
    },
  };
}

/** Any receiver of the store has the same: a ticket of one is good for all of them. */
export function keysInStore(store: ObjectStore): KeyPlace {
  const pathOf = (name: string): string => `${store.name.store}/${FOLDER}${name}`;
  const read = async (name: string, refuse: Refuse): Promise<string | undefined> => {
    const bytes = await orRefuse(store.get(FOLDER + name), refuse);
    return bytes?.toString('utf8');
  };
  return {
    pathOf,
    removal: (names) => names.map((name) => `aws s3 rm ${pathOf(name)}`).join('; '),
    readPublic: read,
    readSecret: read,
    makeSecret: async (name, text, refuse) => {
      await orRefuse(store.putNew(FOLDER + name, Buffer.from(text)), refuse);
      return (await read(name, refuse)) ?? refuse('it vanished');
    },
    writePublic: async (name, text) => {
      const refuse: Refuse = (reason) => {
        throw new TransferError('state-refused', `cannot write ${pathOf(name)}: ${reason}`);
      };
      await orRefuse(store.put(FOLDER + name, Buffer.from(text)), refuse);
    },
  };
}

async function orRefuse<Result>(asked: Promise<Result>, refuse: Refuse): Promise<Result> {
  return await asked.catch((error: unknown) => refuse(reasonOf(error)));
}
