/** Options of create and run: what becomes of the main command's output, and when it is started again. */

import { InvalidInputError } from '../errors.ts';
import { requireTool } from '../host/tool.ts';
import type { ContainerSpec } from '../spec/container.ts';
import { parseHealthRetries, parseHealthSpan } from '../spec/health.ts';
import { parseLogBytes, parseLogFiles } from '../spec/log.ts';
import { parseRestart } from '../spec/restart.ts';
import type { VerbCommand } from './verb-command.ts';

export interface SupervisionOptions {
  readonly restart: string;
  readonly healthCmd?: string;
  readonly healthInterval?: number;
  readonly healthTimeout?: number;
  readonly healthRetries?: number;
  readonly logMaxSize?: number;
  readonly logMaxFiles?: number;
  readonly logTimestamps?: boolean;
  readonly service: readonly string[];
  /** Of `run -d --rm`. */
  readonly autoRemove?: boolean;
}

export function addSupervisionOptions(command: VerbCommand): VerbCommand {
  return command
    .option('--restart <policy>', 'of the main command: no, on-failure[:times], always, unless-stopped', 'no')
    .option('--health-cmd <cmd>', 'says by its exit status whether it works, through /bin/sh -c')
    .option('--health-interval <time>', 'between two checks (default: 30s)', parseHealthSpan('--health-interval'))
    .option('--health-timeout <time>', 'of a check (default: 30s)', parseHealthSpan('--health-timeout'))
    .option('--health-retries <number>', 'failures until it is unhealthy (default: 3)', parseHealthRetries)
    .option('--log-max-size <size>', 'of a file of the log: 500k, 10m, … (default: 10m)', parseLogBytes)
    .option('--log-max-files <number>', 'how many files of the log are kept (default: 3)', parseLogFiles)
    .option('--log-timestamps', 'each line of the log has its time, by svlogd');
}

/** Throws InvalidInputError, HostError. */
export function supervisionFrom(
  options: SupervisionOptions,
  main: readonly string[],
): Pick<ContainerSpec, 'log' | 'restart' | 'health' | 'autoRemove'> {
  const restart = parseRestart(options.restart);
  if (restart !== undefined && main.length === 0) {
    throw new InvalidInputError('cannot use --restart without a main command', { hint: 'minict create NAME -- CMD…' });
  }
  if (options.autoRemove && main.length === 0) {
    throw new InvalidInputError('cannot use -d and --rm together without a main command: it goes with that', {
      hint: 'minict run -d --rm NAME -- CMD…',
    });
  }
  const remove = options.autoRemove ? { autoRemove: true as const } : {};
  return {
    ...remove,
    ...logFrom(options),
    ...healthFrom(options, main),
    ...(restart === undefined ? {} : { restart }),
  };
}

function logFrom({ logMaxSize, logMaxFiles, logTimestamps, service }: SupervisionOptions): Pick<ContainerSpec, 'log'> {
  if (logMaxSize === undefined && logMaxFiles === undefined && !logTimestamps) return {};
  if (logTimestamps) requireTool('svlogd');
  if (logTimestamps && service.length > 0) {
    throw new InvalidInputError('cannot use --log-timestamps and --service together: what services write has no times');
  }
  return {
    log: {
      ...(logMaxSize === undefined ? {} : { maxBytes: logMaxSize }),
      ...(logMaxFiles === undefined ? {} : { maxFiles: logMaxFiles }),
      ...(logTimestamps ? { timestamps: true } : {}),
    },
  };
}

function healthFrom(options: SupervisionOptions, main: readonly string[]): Pick<ContainerSpec, 'health'> {
  const { healthCmd: command, healthInterval, healthTimeout, healthRetries } = options;
  if (command === undefined) {
    if ([healthInterval, healthTimeout, healthRetries].every((value) => value === undefined)) return {};
    throw new InvalidInputError('cannot check its health: no --health-cmd', { hint: "--health-cmd 'CMD'" });
  }
  if (command.trim() === '') throw new InvalidInputError("cannot use --health-cmd '': no command");
  if (main.length === 0) {
    throw new InvalidInputError('cannot use --health-cmd without a main command', {
      hint: 'minict create NAME -- CMD…',
    });
  }
  const health = { command, intervalMs: healthInterval ?? 30_000, timeoutMs: healthTimeout ?? 30_000 };
  return { health: { ...health, retries: healthRetries ?? 3 } };
}
