// Files, timers, hashes, DNS and compression: the thread pool of Node.
import { mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { createHash, pbkdf2, randomUUID } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { cpus, hostname, loadavg, tmpdir } from 'node:os';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';

const place = await mkdtemp(`${tmpdir()}/node-`);
const numbers = [...Array(20).keys()];
await Promise.all(numbers.map((n) => writeFile(`${place}/${n}`, randomUUID().repeat(n))));
for (const name of await readdir(place)) {
    const content = await readFile(`${place}/${name}`);
    const hash = createHash('sha256').update(content).digest('hex');
    console.log(name, (await stat(`${place}/${name}`)).mtimeMs, hash);
}
await rm(place, { recursive: true });
const keys = [...Array(8).keys()].map((n) => promisify(pbkdf2)('p', `${n}`, 2000, 16, 'sha256')
    .then((key) => console.log(n, key.toString('hex'), performance.now())));
await Promise.all(keys);
console.log(await lookup('localhost'), hostname(), cpus().length, loadavg());
console.log((await promisify(gzip)('x'.repeat(100000))).length);
await new Promise((resolve) => {
    let ticks = 0;
    const timer = setInterval(() => {
        console.log('tick', performance.now());
        if (++ticks === 5) resolve(clearInterval(timer));
    }, 2);
});
console.log(process.memoryUsage(), process.uptime(), process.pid);
console.log('done');
