/** Wrappers of a target and a journal that note every call, so that a test can look at their order. */
import type { DurableBlock, Journal } from '../../receiver/journal/journal.ts';
import type { Target } from '../../receiver/target/target.ts';

export type Note = (text: string) => void;

/** Notes `write 65536`, which may throw instead of it, `write 65536 done`, …; numbers are offsets. */
export function recordedTarget(target: Target, note: Note): Target {
  const noted = async <Result>(what: string, work: () => Promise<Result>): Promise<Result> => {
    note(what);
    try {
      const result = await work();
      note(`${what} done`);
      return result;
    } catch (error) {
      note(`${what} failed`);
      throw error;
    }
  };
  return {
    identity: target.identity,
    isSizeFixed: target.isSizeFixed,
    sectorBytes: target.sectorBytes,
    lengthBytes: async () => await target.lengthBytes(),
    roomBytes: async () => await target.roomBytes(),
    confirm: async () => await target.confirm(),
    prepare: async (sizeBytes) => await noted('prepare', async () => await target.prepare(sizeBytes)),
    write: async (bytes, offset) =>
      await noted(`write ${offset}`, async () => await target.write(bytes, offset)),
    writeZeros: async (offset, length) =>
      await noted(`zeros ${offset}`, async () => await target.writeZeros(offset, length)),
    readBack: async (into, offset) =>
      await noted(`read back ${offset}`, async () => await target.readBack(into, offset)),
    read: async (into, offset) => await noted(`read ${offset}`, async () => await target.read(into, offset)),
    flush: async () => await noted('flush', async () => await target.flush()),
    writeMark: async () => await target.writeMark(),
    close: async () => await target.close(),
  };
}

/** Calls `note` before each change, which may throw instead of it: `record 0,1`, `forget 0`, `set claim`. */
export function recordedJournal(journal: Journal, note: Note): Journal {
  return {
    path: journal.path,
    property: (name) => journal.property(name),
    setProperties: (properties) => {
      note(`set ${Object.keys(properties).join(',')}`);
      journal.setProperties(properties);
    },
    removeProperties: (names) => {
      note(`remove ${names.join(',')}`);
      journal.removeProperties(names);
    },
    recordUnreadable: (index, unreadable) => {
      note(`unreadable ${index}`);
      journal.recordUnreadable(index, unreadable);
    },
    recordDurable: (blocks: Iterable<DurableBlock>, properties) => {
      const list = [...blocks];
      note(`record ${list.map(({ index }) => index).join(',')}`);
      journal.recordDurable(list, properties);
    },
    forgetBlocks: (indexes) => {
      const list = [...indexes];
      note(`forget ${list.join(',')}`);
      journal.forgetBlocks(list);
    },
    blocks: () => journal.blocks(),
    close: () => journal.close(),
  };
}
