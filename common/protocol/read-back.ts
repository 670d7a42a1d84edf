/** How the target was read back, and in whose words it is equal. */

/**
 * `direct`, with O_DIRECT; `cache-dropped`, through the page cache after the kernel dropped the file from it,
 * where O_DIRECT does not work; `nbd-server`, what an NBD server answered after its FLUSH; `object-store`,
 * what an object store answered after it had acknowledged the write.
 */
export const READ_BACK_METHODS = ['direct', 'cache-dropped', 'nbd-server', 'object-store'] as const;
export type ReadBackMethod = (typeof READ_BACK_METHODS)[number];

export function isReadBackMethod(value: unknown): value is ReadBackMethod {
  return READ_BACK_METHODS.some((method) => method === value);
}

const IN_WHOSE_WORDS: Readonly<Record<ReadBackMethod, string>> = {
  direct: '',
  'cache-dropped': '',
  'nbd-server': ', as its NBD server says',
  'object-store': ', as its object store says',
};

/** For people. @param method null: of an earlier version, which read disks only. */
export function equalText(method: ReadBackMethod | null): string {
  return `read back and equal${method === null ? '' : IN_WHOSE_WORDS[method]}`;
}
