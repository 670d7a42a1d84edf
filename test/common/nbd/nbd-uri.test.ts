import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isNbdUri, parseNbdUri } from '../../../common/nbd/nbd-uri.ts';
import { coded } from '../../support/coded.ts';

test('the names of the NBD project lead to an address, in one spelling each', () => {
  for (const [text, name, exportName, place] of [
    ['nbd://host', 'nbd://host:10809/', '', { host: 'host', port: 10_809 }],
    ['NBD://Host:1/', 'nbd://host:1/', '', { host: 'host', port: 1 }],
    ['nbd://h/a/b%20c', 'nbd://h:10809/a/b%20c', 'a/b c', { host: 'h', port: 10_809 }],
    ['nbd://[::1]:9/x', 'nbd://[::1]:9/x', 'x', { host: '::1', port: 9 }],
    ['nbd+unix:///?socket=/run/a+b', 'nbd+unix:///?socket=/run/a%2Bb', '', { path: '/run/a+b' }],
    ['nbd+unix:///e?socket=/run/a%3F', 'nbd+unix:///e?socket=/run/a%3F', 'e', { path: '/run/a?' }],
  ] as const) {
    assert(isNbdUri(text), text);
    assert.deepEqual(parseNbdUri(text), { name, exportName, place, tls: undefined }, text);
    assert.deepEqual(parseNbdUri(name), parseNbdUri(text), 'its own spelling');
  }
});

test('nbds names what the certificate must say, and where its authority is', () => {
  const tlsOf = (text: string): unknown => parseNbdUri(text).tls;
  assert.deepEqual(tlsOf('nbds://h/e'), { serverName: 'h', certificatesFolder: undefined });
  assert.deepEqual(tlsOf('nbds://h?tls-certificates=/pki&tls-hostname=vm'), {
    serverName: 'vm',
    certificatesFolder: '/pki',
  });
  assert.deepEqual(tlsOf('nbds+unix:///?socket=/s&tls-hostname=vm'), {
    serverName: 'vm',
    certificatesFolder: undefined,
  });
});

test('what is not such a name, or would be followed in part only, is refused', () => {
  for (const [text, message] of [
    ['nbd+vsock://1/e', /there is no nbd\+vsock/],
    ['nbd:///e', /names no host/],
    ['nbd:// h/e', /names no host/],
    ['nbd://h:0/e', /NBD port/],
    ['nbd://h:99999/e', /NBD port/],
    ['nbd://u@h/e', /keys of users/],
    ['nbd://h/e#x', /%23/],
    ['nbd://h/%', /percent-encoded/],
    ['nbd://h/%00', /percent-encoded/],
    ['nbd://h/e?socket=/s', /nbd\+unix/],
    ['nbd://h/e?tls-hostname=x', /write nbds:/],
    ['nbds://h/e?tls-psk-file=/x', /tls-psk-file is not known/],
    ['nbds://h/e?tls-verify-peer=false', /tls-verify-peer is not known/],
    ['nbd+unix:///e', /socket=<path> is missing/],
    ['nbd+unix://h/e?socket=/s', /three slashes/],
    ['nbd+unix:///e?socket=/s&socket=/t', /twice/],
    ['nbds+unix:///e?socket=/s', /tls-hostname=<name>/],
    [`nbd://h/${'a'.repeat(4097)}`, /too long/],
  ] as const) {
    assert.throws(() => parseNbdUri(text), coded('usage', { message }), text);
  }
  assert(!isNbdUri('/dev/nbd0') && !isNbdUri('nbd.img') && !isNbdUri('root@nbd:/dev/vdd'));
});
