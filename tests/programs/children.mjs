// child_process in its forms.
import { exec, execFileSync, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';

if (process.argv[2] === 'child') {
    process.on('message', (message) => {
        process.send({ pid: process.pid, message, at: Date.now() });
        process.disconnect();
    });
} else {
    console.log(execFileSync('date', ['+%N']).toString());
    const { stdout } = await promisify(exec)('echo $$; echo $PPID; seq 1000 | tail -1');
    console.log(stdout);
    const child = spawn('sh', ['-c', 'read line; echo "got $line"; sleep 0.01; exit 3']);
    child.stdout.on('data', (data) => console.log(child.pid, data.toString()));
    child.stdin.end('a line\n');
    console.log(await once(child, 'close'));
    const killed = spawn('sleep', ['60']);
    setTimeout(() => killed.kill(), 10);
    console.log(await once(killed, 'exit'));
    const forked = fork(new URL(import.meta.url), ['child']);
    forked.send('hello');
    console.log(await once(forked, 'message').then(([message]) => message));
    console.log(await once(forked, 'exit'));
    const last = spawn('sh', ['-c', 'echo inherited'], { stdio: 'inherit' });
    last.on('close', () => console.log('done'));
}
