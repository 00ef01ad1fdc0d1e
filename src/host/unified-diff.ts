/** What differs between a file and a text, by diff(1). */
import { HostError } from '../errors.ts';
import { missingTool } from './tool.ts';

/** Empty where they are the same. Throws HostError. */
export async function unifiedDiff(
  old: { readonly label: string; readonly path: string },
  now: { readonly label: string; readonly text: string },
  colour: boolean,
): Promise<string> {
  if (Bun.which('diff') === null) throw missingTool('diff');
  const argv = ['diff', '-u', `--color=${colour ? 'always' : 'never'}`, '--label', old.label, '--label', now.label];
  const child = Bun.spawn([...argv, old.path, '-'], { stdio: [Buffer.from(now.text), 'pipe', 'pipe'] });
  const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  if ((await child.exited) <= 1) return stdout;
  throw new HostError(`cannot compare ${old.label} with ${now.label}: ${stderr.trim()}`);
}
