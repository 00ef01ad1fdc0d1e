/**
 * What the host's rules were found to stop, and the mark of the rules that were read for it. In the run dir. Nobody holds a
 * lock for it: what two have written into each other, or a full disk cut short, fails its checksum, and is judged anew.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import type { ForeignDrop } from '../host/firewall/drops.ts';
import { firewallVerdictsPath, type Roots } from './paths.ts';

/** By what was asked: way, link, its number and the kernel's routes over it. */
export type Verdicts = Readonly<Record<string, readonly ForeignDrop[]>>;

/** Empty where other rules were judged. */
export function readVerdicts(roots: Roots, mark: string): Verdicts {
  let text: string;
  try {
    text = readFileSync(firewallVerdictsPath(roots), 'utf8');
  } catch {
    // None yet, or none that can be read: then nothing is known.
    return {};
  }
  const start = text.indexOf('\n') + 1;
  const verdicts = text.slice(start);
  return text.slice(0, start) === seal(mark, verdicts) ? JSON.parse(verdicts) : {};
}

export function writeVerdicts(roots: Roots, mark: string, verdicts: Verdicts): void {
  const text = JSON.stringify(verdicts);
  try {
    writeFileSync(firewallVerdictsPath(roots), seal(mark, text) + text, { mode: 0o600 });
  } catch {
    // It saves time, and nothing else.
  }
}

function seal(mark: string, verdicts: string): string {
  return `${mark} ${Bun.hash(verdicts).toString(16)}\n`;
}
