import assert from 'node:assert/strict';
import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  IMAGE_FORMATS,
  chooseFormat,
  formatNamed,
  formatOf,
  headOf,
  parseFormat,
} from '../../../common/nbd/image-format.ts';
import { imageFormatOf } from '../../../common/nbd/open-image.ts';
import { openDisk } from '../../../common/disk/open-disk.ts';
import { coded } from '../../support/coded.ts';
import { unlessInstalled } from '../../support/requires.ts';
import { runOk } from '../../support/run.ts';
import { tempDir } from '../../support/temp-dir.ts';

const code = 'source-refused';

test('images of qemu-img are known by their first bytes', { skip: unlessInstalled('qemu-img') }, async () => {
  await using folder = await tempDir();
  for (const format of IMAGE_FORMATS) {
    const path = join(folder.path, `disk.${format}`);
    await runOk('qemu-img', ['create', '-q', '-f', format, path, '4M']);
    await using handle = await open(path);
    assert.equal(formatOf(await headOf(handle)), format);
    assert.equal(formatNamed(path), format);
  }
  for (const other of ['', 'QFI', '# Disk Descriptor', '\0'.repeat(4096), 'vhdxfil']) {
    assert.equal(formatOf(Buffer.from(other)), undefined, other);
  }
  assert.equal(formatNamed('/qcow2/disk.img'), undefined);
});

test('name and content decide together, and a choice decides where they disagree', () => {
  const choose = (path: string, found: 'qcow2' | 'vdi' | undefined, choice = 'auto'): string =>
    chooseFormat({ path, found, choice: parseFormat(choice), code });
  assert.equal(choose('a.img', undefined), 'raw');
  assert.equal(choose('a.qcow2', 'qcow2'), 'qcow2');
  assert.equal(choose('A.QCOW2', 'qcow2'), 'qcow2');
  assert.equal(choose('a.img', 'qcow2', 'qcow2'), 'qcow2');
  for (const [path, found] of [
    ['a.img', 'qcow2'],
    ['a.qcow2', undefined],
    ['a.qcow2', 'vdi'],
  ] as const) {
    assert.equal(choose(path, found, 'raw'), 'raw', 'as it is');
    assert.throws(() => choose(path, found), coded(code, { hint: /--format raw/ }), path);
  }
  assert.throws(() => choose('a.img', undefined, 'qcow2'), coded(code, { message: /is not a qcow2 image/ }));
  assert.throws(
    () => choose('a.qcow2', 'qcow2', 'vdi'),
    coded(code, { message: /is a qcow2 image, not vdi/ }),
  );
  assert.throws(() => parseFormat('vpc'), coded('usage', { message: /none of auto, raw, qcow2/ }));
  const there = coded('usage', { message: /^--target-format vpc is none of auto, raw, qcow2/ });
  assert.throws(() => parseFormat('vpc', '--target-format'), there);
});

test('an image that would read other files is refused', { skip: unlessInstalled('qemu-img') }, async () => {
  await using folder = await tempDir();
  const at = (name: string): string => join(folder.path, name);
  const create = async (...words: readonly string[]): Promise<string> =>
    await runOk('qemu-img', ['create', '-q', ...words]);
  await writeFile(at('secret'), 'x'.repeat(1024 * 1024));
  await create('-f', 'vmdk', at('base.vmdk'), '4M');
  await create('-f', 'qcow2', '-b', at('secret'), '-F', 'raw', at('based.qcow2'));
  await create('-f', 'qcow2', '-o', `data_file=${at('data')},data_file_raw=on`, at('external.qcow2'), '4M');
  await create('-f', 'vmdk', '-b', at('base.vmdk'), '-F', 'vmdk', at('based.vmdk'));
  await create('-f', 'vmdk', '-o', 'subformat=monolithicFlat', at('flat.vmdk'), '4M');
  // A header of a sparse image without a disk makes qemu read the list in it.
  const header = Buffer.alloc(4096);
  header.write('KDMV', 'latin1');
  header.writeUInt32LE(1, 4);
  header.writeBigUInt64LE(1n, 28);
  header.writeBigUInt64LE(1n, 36);
  header.write(`# Disk DescriptorFile\nRW 8 FLAT "${at('secret')}" 0\n`, 512, 'latin1');
  await writeFile(at('list.vmdk'), header);
  await writeFile(at('short.qcow2'), Buffer.from('QFI\u00fb\0\0\0\x03', 'latin1'));
  for (const [name, message] of [
    ['based.qcow2', /based on another file \(a backing file\)/],
    ['external.qcow2', /keeps its data in another file/],
    ['based.vmdk', /based on another file \(its parent\)/],
    ['flat.vmdk', /only lists other files/],
    ['list.vmdk', /only lists other files/],
    ['short.qcow2', /is cut off/],
  ] as const) {
    await using disk = await openDisk(at(name), code);
    await assert.rejects(imageFormatOf(disk, { choice: 'auto', code }), coded(code, { message }), name);
    assert.equal(await imageFormatOf(disk, { choice: 'raw', code }), 'raw');
  }
});
