'use strict';

const express = require('express');

const app = express();
const port = process.env.PORT || 8080;

app.get('/', (_request, response) => {
  response.send('Hello you!');
});

app.listen(port, () => {
  console.log(`legacy app listening on port ${port}`);
});
