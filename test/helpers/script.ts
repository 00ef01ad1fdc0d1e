/** What --dry-run prints. */
import { expect } from 'vitest';
import type { Host } from './host.ts';

/** The script that minict prints; printing writes nothing, and shellcheck has nothing to say. */
export function printScript(host: Host, ...words: string[]): string {
  const files = () => host.run(['find', host.root, '/run', '-xdev', '-printf', '%p %i %T@ %s\n']).stdout;
  const before = [files(), host.snapshot()];
  const printed = host.minict(...words);
  expect(printed).toMatchObject({ status: 0, stderr: '' });
  expect([files(), host.snapshot()]).toEqual(before);
  const checked = Bun.spawnSync(['shellcheck', '-s', 'sh', '-'], { stdin: new TextEncoder().encode(printed.stdout) });
  expect(checked.stdout.toString()).toBe('');
  return printed.stdout;
}
