/** After a reboot, as systemctl(1) does it. */
import { expect, test } from 'vitest';
import { groupFile, keptRows, minict, rows, run, unitIs } from './machine.ts';

test('the one with a policy was taken down in order, and is up again by its unit, with its address, files and limits', () => {
  expect(unitIs('minict@web.service', 'ActiveState')).toBe('active');
  expect(unitIs('minict@web.service', 'Result')).toBe('success');
  expect(rows().web).toMatchObject({ state: 'running', address: keptRows().web?.address });
  expect(minict('exec', 'web', 'cat', '/root/file').stdout).toBe('kept\n');
  expect(groupFile('web', 'memory.max')).toBe(`${64 << 20}`);
  const told = minict('events', '--no-stream', '--since', '1h', '--filter', 'container=web').stdout;
  expect(told).toMatch(/ die web \(exitCode=143\)\n(\S+ container \w+ web.*\n)*\S+ container start web\n$/);
});

test('the one that was stopped by hand was left down, and so was the one without a policy', () => {
  expect(rows().shy?.state).toBe('stopped');
  expect(unitIs('minict@shy.service', 'Result')).toBe('success');
  expect(run('journalctl', '-b', '-o', 'cat', '-u', 'minict@shy.service').stdout).toContain(
    'minict: shy was stopped by hand, and is left down\n',
  );
  expect(rows().plain?.state).toBe('stopped');
  expect(minict('start', 'plain')).toEqual({ status: 0, stdout: 'plain\n', stderr: '' });
  expect(rows().plain?.address).toBe(keptRows().plain?.address);
  expect(minict('exec', 'plain', 'ping', '-c', '1', 'web').status).toBe(0);
});
