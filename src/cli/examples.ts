/** What help shows beneath the options: command lines to begin with (test/e2e/help.test.ts runs each, and has a list of the verbs), and exit statuses. */
import type { Command } from 'commander';

/** By verb, `net impair` for one of a group. */
const EXAMPLES: Readonly<Record<string, readonly string[]>> = {
  capture: [
    'minict capture web1 r1:lan -w lab.pcapng -c 4 --filter icmp',
    'minict capture web1 r1 --duration 1 -w - | tshark -r -',
  ],
  clone: ['minict clone web1 web9 --ip 10.1.0.99'],
  commit: [`minict commit web1 web:1 -c 'CMD ["httpd", "-f"]'`],
  completion: ['source <(minict completion bash)          # in ~/.bashrc'],
  cp: ['minict cp web1:/etc/hosts .', 'minict cp ./site web1:/var/www', 'minict cp web1:/etc - | tar -t'],
  create: [
    'minict create web1 --network lan --ip 10.1.0.11 --gateway 10.1.0.1',
    'minict create web2 -p 8080:80 -m 256m --restart always -- httpd -f',
    'minict create r1 --router --nic lan,ip=10.1.0.1,ip=fd00:1::1,name=lan --nic p2p:r2,name=eth1,ip=10.0.12.1/30',
    'minict create web3 --dry-run                    # the same as a shell script',
  ],
  events: ['minict events --since 1h --no-stream --filter container=web1'],
  exec: ['minict exec web1 ip addr', 'minict exec -it web1 sh', 'minict exec -d web1 httpd -h /etc'],
  inspect: ["minict inspect web1 | jq -r '.[0].status.state'"],
  link: [
    'minict link r1:eth2,ip=10.0.13.1/30 r3:eth1,ip=10.0.13.2/30',
    'minict link ls',
    'minict link down r1:eth2',
    'minict link up r1:eth2',
    'minict link rm r1:eth2',
  ],
  logs: ['minict logs -n 20 web2'],
  'net impair': [
    'minict net impair web1:eth0 --rate 10mbit --loss 1%',
    'minict net impair web1:eth0                     # what is in effect',
    'minict net impair web1:eth0 --clear',
  ],
  'network create': [
    'minict network create lan --subnet 10.1.0.0/24 --subnet fd00:1::/64 --gateway none     # a router has .1',
    'minict network create net --nat                 # out with the address of the host',
  ],
  'network connect': ['minict network connect net web1 --name eth1', 'minict network connect lan web2 --ip 10.1.0.12'],
  ps: ["minict ps -a --filter name=web --format json | jq -r '.[].name'", 'minict ps -q --filter status=stopped'],
  run: ['minict run --rm -it box', 'minict run -d web4 --network lan -- httpd -f'],
  snapshot: ['minict snapshot create web1 s1', 'minict snapshot diff web1 s1', 'minict snapshot rollback web1 s1'],
  update: ['minict update -m 512m --pids-limit max web2'],
  why: ['minict why web1 web4 tcp/80', 'minict why --format json web1 web4 tcp/81 | jq -r .fix'],
};

const EXIT_STATUS: Readonly<Record<string, string>> = {
  exec: "the program's; 126 where it cannot be run, 127 where it is not found, 128+N after signal N, 125 where minict failed.",
  'net diff': '0 where nothing differs, 1 where something does, 125 where minict failed.',
  run: "the program's, as of exec; with -d 0 once it has begun.",
  why: '0 where it gets through, 1 where not, 125 where the question cannot be asked.',
};

/** Of a verb, and of those in it. */
export function addExamples(command: Command, path: string): void {
  const status = EXIT_STATUS[path];
  if (status !== undefined) command.addHelpText('after', `\nExit status: ${status}`);
  const examples = EXAMPLES[path];
  if (examples !== undefined) command.addHelpText('after', ['\nExamples:', ...examples].join('\n  '));
  for (const verb of command.commands) addExamples(verb, `${path} ${verb.name()}`);
}
