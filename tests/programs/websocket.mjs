// The Responses interface over a WebSocket: one turn for each question.
const [base, ...questions] = process.argv.slice(2);
const socket = new WebSocket(`${base.replace('http', 'ws')}/v1/responses`);
const ask = () => {
    const content = [{ type: 'input_text', text: questions.shift() }];
    const input = [{ role: 'user', content }];
    socket.send(JSON.stringify({ type: 'response.create', model: 'gpt-4o', input }));
};
socket.onopen = ask;
socket.onmessage = (message) => {
    const event = JSON.parse(message.data);
    console.log(event.type);
    if (event.type !== 'response.completed') return;
    if (questions.length) ask();
    else socket.close();
};
socket.onclose = () => console.log('done');
