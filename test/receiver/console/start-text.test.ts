import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fingerprintOf, makeSigningKey } from '../../../common/trust/ssh-signature.ts';
import { startEvent, startLines, type StartFacts } from '../../../receiver/console/start-text.ts';

const DISK = {
  path: '/dev/vdd',
  byId: '/dev/disk/by-id/virtio-D1',
  description: 'virtio disk',
  serial: 'D1',
  sizeBytes: 20 * 2 ** 30,
};
const NEW: StartFacts = {
  target: DISK,
  content: [],
  journal: '/s/journal.db',
  transfer: undefined,
  listen: { host: '::', port: 8443 },
  ticketFile: undefined,
  signers: [],
  publicTicket: undefined,
};
const RESUMED = {
  begunAs: undefined,
  isSealed: false,
  blockCount: 4096,
  durableBlocks: 1740,
};
const PLACE = 'target   /dev/vdd (/dev/disk/by-id/virtio-D1): virtio disk, 20 GiB';

test('the lines of a new transfer have the disk, the journal, the address and the ticket file', () => {
  assert.deepEqual(startLines(NEW), [
    `${PLACE}, empty`,
    'journal  /s/journal.db (new)',
    'listening on [::]:8443',
  ]);
  const content = ['gpt partition table', 'partition 1: swap space'];
  const target = { ...DISK, path: '/srv/disk.img', byId: null, description: 'regular file', serial: null };
  const file = { ...NEW, target: { ...target, sizeBytes: null }, content, ticketFile: '/root/ticket' };
  assert.deepEqual(startLines({ ...file, listen: { host: '192.0.2.7', port: 1 } }), [
    'target   /srv/disk.img: regular file, takes the size of the source, ' +
      'holds gpt partition table, partition 1: swap space',
    'journal  /s/journal.db (new)',
    'listening on 192.0.2.7:1',
    'ticket   written to /root/ticket',
  ]);
});

test('the lines of a resumed transfer say how far it is, and its other name', () => {
  const lines = (transfer: StartFacts['transfer']): string[] => startLines({ ...NEW, transfer }).slice(0, 2);
  assert.deepEqual(lines(RESUMED), [
    `${PLACE}, holds this transfer`,
    `journal  /s/journal.db (NOT FINISHED: 1740 of 4096 blocks durable; reading them back)`,
  ]);
  assert.deepEqual(lines({ ...RESUMED, isSealed: true, begunAs: '/dev/vde' }), [
    `${PLACE}, holds this transfer, begun as /dev/vde`,
    `journal  /s/journal.db (complete and sealed: 1740 of 4096 blocks durable)`,
  ]);
  const pipe = 'NOT FINISHED: size not known yet, 1740 blocks durable';
  assert.equal(
    lines({ ...RESUMED, blockCount: null })[1],
    `journal  /s/journal.db (${pipe}; reading them back)`,
  );
});

test('the event has the same facts, and null for what there is not', () => {
  assert.deepEqual(startEvent(NEW), {
    message: 'listening on [::]:8443 for /dev/vdd, empty',
    ...NEW,
    transfer: null,
    ticketFile: null,
    publicTicket: null,
  });
  const { message, transfer } = startEvent({ ...NEW, transfer: RESUMED });
  assert.equal(message, 'listening on [::]:8443 for /dev/vdd, holds this transfer');
  assert.deepEqual(transfer, RESUMED);
});

test('whose keys may sign is named, with their times in UTC, and where the public ticket is', () => {
  const { publicKey } = makeSigningKey(Buffer.alloc(32, 7));
  const fingerprint = fingerprintOf(publicKey);
  const [validAfter, validBefore] = [1_800_000_000, 1_800_086_400];
  const signers = [
    { principals: 'alice,bob', publicKey, validAfter: undefined, validBefore: undefined },
    { principals: 'carol', publicKey, validAfter, validBefore },
  ];
  const facts = { ...NEW, signers, ticketFile: '/root/ticket', publicTicket: 'https://vm/#pin=…' };
  const times = ['2027-01-15T08:00:00Z', '2027-01-16T08:00:00Z'];
  assert.deepEqual(startLines(facts).slice(2), [
    `signer   alice,bob: ${fingerprint}`,
    `signer   carol: ${fingerprint}, from ${times[0]}, until ${times[1]}`,
    'listening on [::]:8443',
    'ticket   written to /root/ticket, the public one to /root/ticket.pub',
  ]);
  const event = startEvent(facts);
  assert.equal(event['publicTicket'], 'https://vm/#pin=…');
  assert.deepEqual(event['signers'], [
    { principals: 'alice,bob', key: fingerprint, validAfter: null, validBefore: null },
    { principals: 'carol', key: fingerprint, validAfter: times[0], validBefore: times[1] },
  ]);
});
