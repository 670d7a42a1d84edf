/** The user data for cloud-init that the guide shows; the package has the same. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

const GUIDE = join(import.meta.dirname, '../../docs/guide/own-keys.md');
const BLOCK = /<!-- cloud-init\.yaml -->\n```yaml\n(.*?)```\n/s;

/** With the places that users fill in. */
export async function readCloudConfig(): Promise<string> {
  const [, text] = BLOCK.exec(await readFile(GUIDE, 'utf8')) ?? [];
  if (text === undefined) throw new Error(`${GUIDE} has no user data`);
  return text;
}
