@0xd5a3c6a0b1e94f27;

interface Echo {
  echo @0 (payload :Data) -> (payload :Data);
}
