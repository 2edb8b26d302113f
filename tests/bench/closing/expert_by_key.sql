-- EVT-2, one of several deliveries: span ids that occur more than once are few; only those are looked at by trace and
-- span, and the rows that are too many are left out wherever the table is read.
create temp table repeated as select sid from spans group by sid having count(*) > 1;
create temp table surplus as
select rid from (
    select rowid as rid, row_number() over (partition by tid, sid order by rowid) as place
    from spans where sid in (from repeated)
)
where place > 1;
create temp view once as select * from spans where rowid not in (from surplus);
