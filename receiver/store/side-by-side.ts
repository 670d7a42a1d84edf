/** So many tasks at once, each taking the next item. */

/** The first failure ends it when the others have settled. @throws what `work` throws. */
export async function sideBySide<Item>(
  count: number,
  items: Iterable<Item>,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const iterator = items[Symbol.iterator]();
  let hasFailed = false;
  const lane = async (): Promise<void> => {
    for (let next = iterator.next(); next.done !== true && !hasFailed; next = iterator.next()) {
      try {
        await work(next.value);
      } catch (error) {
        hasFailed = true;
        throw error;
      }
    }
  };
  const settled = await Promise.allSettled(Array.from({ length: count }, lane));
  for (const one of settled) if (one.status === 'rejected') throw one.reason;
}
