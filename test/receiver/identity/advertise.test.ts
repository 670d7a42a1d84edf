import assert from 'node:assert/strict';
import { networkInterfaces } from 'node:os';
import { test } from 'node:test';
import {
  defaultAdvertiseHost,
  isPrivateAddress,
  type NetworkView,
} from '../../../receiver/identity/advertise.ts';

test('a receiver that listens on one address advertises that', async () => {
  for (const host of ['192.0.2.7', '127.0.0.1', '::1', 'vm.example.net']) {
    assert.equal(await defaultAdvertiseHost(host), host);
  }
});

test('a receiver that listens on every address advertises one of this machine', async () => {
  const own = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const outward = own.filter(({ family, internal }) => family === 'IPv4' && !internal);
  for (const host of ['0.0.0.0', '::']) {
    const advertised = await defaultAdvertiseHost(host);
    const possible = outward.map(({ address }) => address);
    assert(possible.length === 0 || possible.includes(advertised), `${advertised} of ${possible.join()}`);
  }
});

test('private addresses are those of RFC 1918, RFC 6598 and RFC 4193', () => {
  for (const [host, isPrivate] of [
    ['10.0.0.1', true],
    ['10.255.255.255', true],
    ['11.0.0.1', false],
    ['9.255.255.255', false],
    ['172.15.255.255', false],
    ['172.16.0.0', true],
    ['172.31.255.255', true],
    ['172.32.0.0', false],
    ['192.167.1.1', false],
    ['192.168.0.1', true],
    ['192.169.0.1', false],
    ['100.63.255.255', false],
    ['100.64.0.0', true],
    ['100.99.1.1', true],
    ['100.127.255.255', true],
    ['100.128.0.0', false],
    ['203.0.113.7', false],
    ['110.0.0.1', false],
    ['vm.example.net', false],
    ['2001:db8::1', false],
    ['fe80::1', false],
    ['fc00::1', true],
    ['fdff:1::1', true],
    ['fd', false],
  ] as const) {
    assert.equal(isPrivateAddress(host), isPrivate, host);
  }
});

/** A line of /proc/net/if_inet6. */
function ifInet6(digits: string, scope: string, flags: string, name: string): string {
  return `${digits} 02 40 ${scope} ${flags} ${name.padStart(8)}`;
}

const GLOBAL = '20010db8000000000000000000000007';
const OTHER_GLOBAL = '20010db8000000000000000000000008';
const LOCAL = 'fd000000000000000000000000000007';
const NOTHING: NetworkView = { ipv4: new Map(), ipv4Route: undefined, ifInet6: '', ipv6Route: '' };
const LOOPBACK = ifInet6('0'.repeat(31) + '1', '10', '80', 'lo');
const ZERO = '0'.repeat(32);
const DEFAULT_BY_ETH1 = `${ZERO} 00 ${ZERO} 00 fe800000000000000000000000000001 400 1 0 3     eth1\n`;
const NO_ROUTE = `${ZERO} 00 ${ZERO} 00 ${ZERO} ffffffff 1 0 200200       lo\n`;

test('an IPv6 address is advertised where there is no IPv4 address, unless it will not last', async () => {
  const lines = (...all: readonly string[]): string => `${[LOOPBACK, ...all].join('\n')}\n`;
  for (const [ifLines, ipv6Route, host] of [
    [lines(), '', '127.0.0.1'],
    [lines(ifInet6('fe80000000000000000000000000000a', '20', '80', 'eth0')), '', '127.0.0.1'],
    [lines(ifInet6(GLOBAL, '00', '80', 'eth0')), NO_ROUTE, '2001:db8::7'],
    [lines(ifInet6(LOCAL, '00', '80', 'eth0'), ifInet6(GLOBAL, '00', '80', 'eth0')), '', '2001:db8::7'],
    [lines(ifInet6(LOCAL, '00', '80', 'eth0')), '', 'fd00::7'],
    // Temporary, deprecated, tentative, a duplicate.
    ...['01', '20', '40', '08'].map(
      (flag) => [lines(ifInet6(GLOBAL, '00', flag, 'eth0')), '', '127.0.0.1'] as const,
    ),
    [
      lines(ifInet6(GLOBAL, '00', '80', 'eth0'), ifInet6(OTHER_GLOBAL, '00', '80', 'eth1')),
      NO_ROUTE + DEFAULT_BY_ETH1,
      '2001:db8::8',
    ],
  ] as const) {
    const view = { ...NOTHING, ifInet6: ifLines, ipv6Route };
    assert.equal(await defaultAdvertiseHost('::', view), host, ifLines);
    assert.equal(await defaultAdvertiseHost('0.0.0.0', view), '127.0.0.1', 'it listens on IPv4 alone');
  }
});

test('an IPv4 address comes first, that of the default route before others', async () => {
  const ipv4 = new Map([
    ['eth0', '192.0.2.7'],
    ['eth1', '198.51.100.7'],
  ]);
  const view = { ...NOTHING, ipv4, ifInet6: `${ifInet6(GLOBAL, '00', '80', 'eth0')}\n` };
  assert.equal(await defaultAdvertiseHost('::', view), '192.0.2.7');
  assert.equal(await defaultAdvertiseHost('::', { ...view, ipv4Route: 'eth1' }), '198.51.100.7');
  assert.equal(await defaultAdvertiseHost('::', { ...view, ipv4Route: 'wg0' }), '192.0.2.7');
});
