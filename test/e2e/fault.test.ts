/** Each host command of each verb fails, before or after it did its work: one clear error, and the way back. */
import { describe, expect, test } from 'vitest';
import { expectRefused } from '../helpers/expect.ts';
import { useFaultHost } from '../helpers/fault-host.ts';
import { FAILURES, runRefused } from '../helpers/faults.ts';
import { failAtCommands, MANY_POINTS } from '../helpers/recovery.ts';
import { CHANGING_VERBS } from '../helpers/verbs.ts';

const faulty = useFaultHost();

describe.each(CHANGING_VERBS)('$title', (verb) => {
  test.each(FAILURES)('a host command %s', MANY_POINTS, async (fault) => {
    expect(await failAtCommands(faulty.host, verb, faulty.clean, fault)).toBeGreaterThanOrEqual(verb.commands);
  });
});

describe('system calls that the kernel refuses', () => {
  test.each(['unshare', 'mount'])('%s, to minict and to its tools: one clear error, and the way back', async (call) => {
    const { status, stderr } = runRefused(faulty.host, ['create', '--no-network', 'f1'], call, {});
    expect(status).toBe(125);
    expect(stderr).toMatch(/^minict: cannot create f1: .+: .*(not permitted|denied).*\n(hint: .*\n)?$/);
    expect(await faulty.host.settled(faulty.clean)).toEqual(faulty.clean);
  });

  test.each([
    ['unshare', 1, ['unshare']],
    ['unshare', 2, ['unshare']],
    ['mount', 1, ['unshare']],
    ['mount', 4, ['nsenter', 'mount']],
    ['mount', 6, ['nsenter', 'mount']],
    // The first asks for firewall rules: where there is no answer none is known.
    ['sendto', 1, []],
    ['sendto', 2, ['ip']],
    ['sendto', 5, ['ip']],
  ])('%s, the %i. of minict alone: %j does it', async (call, k, tools) => {
    const result = runRefused(faulty.host, ['create', 'f1'], call, { k, alone: true });
    expect(result).toEqual({ status: 0, stdout: 'f1\n', stderr: '', tools: ['ip', ...tools].sort() });
    expect(faulty.host.minict('exec', 'f1', 'hostname').stdout).toBe('f1\n');
    expect(
      faulty.host.minict('exec', 'f1', 'sh', '-c', 'ls /sys/class/net /dev/null && ping -c 1 192.168.0.1').status,
    ).toBe(0);
    expect(faulty.host.minict('rm', 'f1').status).toBe(0);
    expect(await faulty.host.settled(faulty.clean)).toEqual(faulty.clean);
  });

  test('a namespace file is open while it is to be unmounted: for a moment, which is waited for, or for long', async () => {
    expect(faulty.host.minict('create', 'f1').status).toBe(0);
    const stopped = { status: 0, stdout: 'f1\n', stderr: '' };
    const moment = { k: '1..5', alone: true, error: 'EBUSY' } as const;
    const result = runRefused(faulty.host, ['stop', 'f1'], 'umount2', moment);
    expect(result).toEqual({ ...stopped, tools: expect.not.arrayContaining(['umount']) });
    expect(faulty.host.minict('start', 'f1').status).toBe(0);
    const holder = faulty.host.spawn(['sh', '-c', 'exec 3</run/mntns/f1; echo open; exec sleep 300']);
    await holder.stdout.getReader().read();
    expectRefused(faulty.host.minict('stop', 'f1'), /^minict: cannot take down f1: .*\/run\/mntns\/f1: target is busy/);
    holder.kill();
    await holder.exited;
    expect(faulty.host.minict('stop', 'f1')).toEqual(stopped);
    expect(faulty.host.minict('rm', 'f1').status).toBe(0);
    expect(await faulty.host.settled(faulty.clean)).toEqual(faulty.clean);
  });
});
