/** What a host tool says, read as data. For facts only: nothing is changed through here. */

export interface ToolOutput {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Undefined where the tool is not installed. */
export async function readToolOutput(argv: readonly string[]): Promise<ToolOutput | undefined> {
  if (Bun.which(argv[0] ?? '') === null) return undefined;
  const child = Bun.spawn([...argv], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, LC_ALL: 'C' } });
  const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { exitCode: await child.exited, stdout, stderr };
}
