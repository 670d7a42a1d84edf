/** File systems whose maps partclone has made wrong: taken only by name. */
import { TransferError } from '../../common/errors.ts';

/** As wipefs(8) names them. */
export const DOUBTED_TYPES: readonly string[] = ['ntfs', 'btrfs'];

/** The value of `--map-also`. @throws TransferError `usage`. */
export function parseMapAlso(text: string | undefined, isUsedOnly: boolean): readonly string[] {
  if (text === undefined) return [];
  if (!isUsedOnly)
    throw new TransferError('usage', '--map-also is only for --used-only', { hint: 'ddt-send --help' });
  const types = text.split(',');
  const other = types.find((type) => !DOUBTED_TYPES.includes(type));
  if (other === undefined) return types;
  const known = DOUBTED_TYPES.join(', ');
  throw new TransferError('usage', `--map-also takes ${known}, not '${other}'`, { hint: 'ddt-send --help' });
}
