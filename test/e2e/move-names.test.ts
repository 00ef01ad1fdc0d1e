/** Addresses and images' names of a container that goes to another host, where others may have them. */
import { expect, test } from 'vitest';
import { expectRefused } from '../helpers/expect.ts';
import type { Host } from '../helpers/host.ts';
import { imageNames } from '../helpers/images.ts';
import { eth0Of } from '../helpers/links.ts';
import { move, pipe } from '../helpers/move.ts';
import { useTwoHosts } from '../helpers/two-hosts.ts';

const hosts = useTwoHosts();
const { ok, over } = hosts;

test('addresses: its own where that is free and fits, or the one asked for, or the next free one and a note', async () => {
  ok(
    'create',
    'web1',
    '--ip',
    '192.168.0.5',
    '--gateway',
    '192.168.0.7',
    '--mac-address',
    '02:00:00:00:00:55',
    '--mtu',
    '1400',
  );
  await move(hosts.here, ['web1'], hosts.there, ['--start']);
  const nic = (name: string) => JSON.parse(over('inspect', name))[0].nics[0];
  expect(nic('web1')).toMatchObject({
    addresses: ['192.168.0.5/24'],
    gateways: ['192.168.0.7'],
    mac: '02:00:00:00:00:55',
  });
  expect(eth0Of(hosts.there, 'web1')).toMatchObject({ address: '02:00:00:00:00:55', mtu: 1400 });
  const taken = await pipe(hosts.here, ['web1'], hosts.there, ['--name', 'web2', '--start']);
  expect(taken.loaded).toEqual({
    status: 0,
    stdout: 'web2\n',
    stderr:
      'minict: web2 has the address 192.168.0.2: cannot use address 192.168.0.5: taken by container web1\n' +
      'minict: web2 has another MAC address: container web1 has 02:00:00:00:00:55\n',
  });
  expect(eth0Of(hosts.there, 'web2').addr_info[0]).toMatchObject({ local: '192.168.0.2' });
  expect(eth0Of(hosts.there, 'web2').address).not.toBe('02:00:00:00:00:55');
  expect(over('exec', 'web1', 'ping', '-c1', '-W2', 'web2')).toContain('1 packets received');
  const asked = await pipe(hosts.here, ['web1'], hosts.there, ['--name', 'web3', '--ip', '192.168.0.9']);
  expect(asked.loaded).toMatchObject({ status: 0, stdout: 'web3\n' });
  expect(nic('web3')).toMatchObject({ addresses: ['192.168.0.9/24'], mtuBytes: 1400 });
  expectRefused(
    (await pipe(hosts.here, ['web1'], hosts.there, ['--name', 'x', '--ip', '192.168.0.9'])).loaded,
    /taken by container web3/,
  );
  over('rm', '-f', 'web1', 'web2', 'web3');
  over('system', 'prune');
  over('create', 'other', '--ip', '10.1.0.2/16');
  const outside = await pipe(hosts.here, ['web1'], hosts.there, ['--start']);
  expect(outside.loaded).toEqual({
    status: 0,
    stdout: 'web1\n',
    stderr:
      'minict: web1 has the address 10.1.0.3: cannot use address 192.168.0.5: outside network minict0, 10.1.0.0/16\n' +
      'minict: web1 has the gateway 10.1.0.1: 192.168.0.7 is not one of the network here\n',
  });
  expect(over('exec', 'web1', 'ping', '-c1', '-W2', 'other')).toContain('1 packets received');
});

test('an image of the same name is another one: both are kept', async () => {
  over('create', 'mine', '--no-network');
  ok('create', 'web1', '--no-network');
  ok('exec', 'web1', 'sh', '-c', 'echo one >/one');
  ok('commit', 'web1', 'lab:1');
  ok('run', '-d', 'web2', '--image', 'lab:1', '--no-network', '--', 'sleep', '300');
  await move(hosts.here, ['web2'], hosts.there);
  await move(hosts.here, ['web1'], hosts.there);
  const id = (name: string, host: Host) => JSON.parse(host.minict('image', 'inspect', name).stdout)[0].id;
  expect(id('base', hosts.there)).not.toBe(id('base', hosts.here));
  expect(imageNames(hosts.there)).toEqual(['base', 'lab:1']);
  expect(id('lab:1', hosts.there)).toBe(id('lab:1', hosts.here));
  const unnamed = JSON.parse(over('image', 'ls', '-a', '--format', 'json')) as { id: string; name: string }[];
  expect(unnamed.map((image) => image.id)).toContain(id('base', hosts.here));
  const [web1, web2] = JSON.parse(over('inspect', 'web1', 'web2'));
  expect(web1).toMatchObject({ image: id('base', hosts.here), imageId: id('base', hosts.here) });
  expect(web2).toMatchObject({ image: 'lab:1' });
  expect(over('ps', '-a')).toMatch(new RegExp(`^web1 +stopped +${id('base', hosts.here).slice(7, 19)}$`, 'm'));
  expectRefused(hosts.there.minict('image', 'rm', 'lab:1'), /used by web2/);
  over('start', 'web1');
  expect(over('exec', 'web1', 'cat', '/one')).toBe('one\n');
});
