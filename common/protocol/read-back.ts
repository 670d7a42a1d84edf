/** How the target was read back, and in whose words it is equal. */

/**
 * `direct`, with O_DIRECT; `cache-dropped`, through the page cache after the kernel dropped the file from it,
 * where O_DIRECT does not work; `nbd-server`, what an NBD server answered after its FLUSH.
 */
export const READ_BACK_METHODS = ['direct', 'cache-dropped', 'nbd-server'] as const;
export type ReadBackMethod = (typeof READ_BACK_METHODS)[number];

export function isReadBackMethod(value: unknown): value is ReadBackMethod {
  return READ_BACK_METHODS.some((method) => method === value);
}

/** For people. @param method null: of an earlier version, which read disks only. */
export function equalText(method: ReadBackMethod | null): string {
  return `read back and equal${method === 'nbd-server' ? ', as its NBD server says' : ''}`;
}
