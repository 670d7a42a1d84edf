/**
 * What `inspectTarget` would say of a disk, without looking: where tests run at the same time, a losetup of
 * another one may have the device open for a moment, and would be found.
 */
import type { TargetIdentity } from '../../receiver/target/target.ts';

/** @param sizeBytes of a device; a file has none. */
export function diskIdentity(
  kind: 'device' | 'file',
  path: string,
  sizeBytes: number | null = null,
): TargetIdentity {
  const unknown = { model: null, serial: null, wwn: null, byId: null, fileId: null };
  return { kind, path, sizeBytes, ...unknown, logicalSectorBytes: 512, description: 'a test disk' };
}
