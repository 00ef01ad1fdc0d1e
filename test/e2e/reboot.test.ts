/** After a reboot there is the state folder alone: containers are stopped, keep their addresses, start whole, and rm works. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { killBefore } from '../helpers/faults.ts';
import { Host } from '../helpers/host.ts';

let host: Host;
beforeAll(async () => {
  host = await Host.create();
});
afterAll(() => host.destroy());

const row = (name: string) =>
  (
    JSON.parse(host.minict('ps', '-a', '--format', 'json').stdout) as { name: string; state: string; address: string }[]
  ).find((container) => container.name === name);
const inside = (name: string) =>
  (
    JSON.parse(host.run(['ip', '-n', name, '-j', 'addr', 'show', 'eth0']).stdout) as {
      address: string;
      addr_info: { local: string }[];
    }[]
  ).map(({ address, addr_info }) => [address, addr_info[0]?.local]);

test.each(['private', 'host'])('with --mounts %s', async (mounts) => {
  const done = (name: string) => ({ status: 0, stdout: `${name}\n`, stderr: '' });
  expect(host.minict('create', 'gone', '--mounts', mounts)).toEqual(done('gone'));
  expect(host.minict('create', 'idle', '--mounts', mounts)).toEqual(done('idle'));
  expect(host.minict('run', '-d', 'busy', '--mounts', mounts, '--', 'sleep', '300')).toEqual(done('busy'));
  expect(host.minict('exec', 'idle', 'sh', '-c', 'echo kept >/root/file').status).toBe(0);
  const before = { idle: inside('idle'), busy: inside('busy') };
  const clean = host.snapshot().state.filter((line) => !/gone|idle|busy/.test(line));

  await host.reboot();
  for (const name of ['gone', 'idle', 'busy']) expect(row(name)?.state).toBe('stopped');
  expect(host.minict('ps').stdout).not.toContain('idle');
  expect(host.minict('exec', 'idle', 'true').stderr).toMatch(
    /^minict: cannot exec in idle: it is stopped\nhint: minict start idle\n$/,
  );
  // The addresses of the stopped ones are taken.
  expect(host.minict('create', 'new')).toEqual(done('new'));
  expect([before.idle, before.busy].flat(2)).not.toContain(row('new')?.address);
  expect(host.minict('start', 'idle', 'busy')).toMatchObject({ status: 0, stderr: '' });
  expect({ idle: inside('idle'), busy: inside('busy') }).toEqual(before);
  expect(row('busy')?.state).toBe('running');
  expect(host.minict('exec', 'idle', 'sh', '-c', 'cat /root/file && ping -c1 -W2 busy >/dev/null').stdout).toBe(
    'kept\n',
  );
  expect(host.minict('rm', 'gone')).toEqual(done('gone'));

  await host.reboot();
  const fresh = host.snapshot();
  expect(host.minict('rm', 'idle', 'busy', 'new')).toMatchObject({ status: 0, stderr: '' });
  const after = host.snapshot();
  expect(after.state.filter((line) => !line.startsWith('minict0.'))).toEqual(
    clean.filter((line) => !line.startsWith('minict0.')),
  );
  expect(JSON.parse(readFileSync(join(host.root, 'networks/minict0.json'), 'utf8')).members).toEqual({});
  expect({ ...after, run: [], state: [] }).toEqual({ ...fresh, run: [], state: [] });
});

test('what a killed create left on the disk goes with the next one', async () => {
  host.minict('create', 'first');
  host.minict('rm', 'first');
  expect(killBefore(host, ['create', 'half'], 'mount', 1)).toBe(true);
  await host.reboot();
  expect(host.snapshot().state).toContain('containers/half/');
  expect(host.minict('ps', '-a', '-q').stdout).toBe('');
  expect(host.minict('create', 'half')).toMatchObject({ status: 0, stderr: '' });
  expect(host.minict('exec', 'half', 'hostname').stdout).toBe('half\n');
  expect(host.minict('rm', 'half').status).toBe(0);
});
