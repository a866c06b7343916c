select 1 as flat where 1 = 0
