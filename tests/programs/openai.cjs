// The openai package over TLS and plain.
const { OpenAI } = require('openai');

async function main() {
    const messages = [{ role: 'user', content: 'hello' }];
    for (const base of process.argv.slice(2)) {
        const client = new OpenAI({ baseURL: `${base}/v1`, apiKey: 'sk-test' });
        console.log(JSON.stringify(await client.chat.completions.create({ model: 'm', messages })));
        const streams = [0, 1, 2].map(async (number) => {
            const request = { model: 'm', messages, stream: true };
            const stream = await client.chat.completions.create(request);
            for await (const chunk of stream) {
                console.log(number, chunk.id, chunk.choices[0].delta.content);
            }
        });
        await Promise.all(streams);
        const events = await client.responses.create({ model: 'm', input: 'hello', stream: true });
        for await (const event of events) console.log(event.type, event.delta ?? '');
    }
    console.log('done');
}
main();
