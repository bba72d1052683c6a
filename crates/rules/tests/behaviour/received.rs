//! What is made out of one `Received` field, in the forms of many servers: the relay, nothing for what is no hop, or that it
//! cannot be read.

use super::{Case, case};

pub fn cases() -> Vec<Case> {
    FIELDS.iter().map(|(field, relay)| case("", "", &format!("received {field}"), relay)).collect()
}

/// The field's value and the relay in the form of `X-Spam-Relays-…`.
const FIELDS: &[(&str, &str)] = &[
    ("(qmail 10681 invoked by uid 404); 14 Nov 2003 08:05:52 -0000", ""),
    (
        "(qmail 87263 messnum 771997 invoked from network[192.0.2.1/mx.example.com]); 8 Mar 2004 23:59:05 -0000",
        "",
    ),
    (
        "from 198.51.100.1 by relay.example.net (envelope-from <user1@smtp.example.com>, uid 502) with qmail-scanner-1.24 (clamdscan: 0.80/594. f-prot: 4.4.2/3.14.11.  Clear:RC:0(198.51.100.1):.  Processed in 0.288806 secs); 06 Feb 2005 21:11:38 -0000",
        "",
    ),
    (
        "from <unavailable> by web.example.net (8.12.11/8.12.11) with ESMTP id k4MC0Jdu015089 for <<user2@gate.example.org>>; Mon, 22 May 2006 07:00:20 -0500",
        "",
    ),
    (
        "from desk.example.com by desk.example.com (LISTSERV-TCP/IP release 1.8d) with spool id 35469828 for user3@desk.example.com; Tue, 23 May 2006 11:01:27 -0400",
        "",
    ),
    (
        "from DL1GSPMX02 (node.example.net) by hub.example.org (LSMTP for Windows NT v1.1b) with SMTP id <user4@hub.example.org>; Tue, 12 Sep 2006 21:06:43 -0500",
        "",
    ),
    (
        "from user5@aol.com by imo-m01.mx.aol.com (mail_out_v36_r4.12.) id m.b9.3bfe3305 (4116) for <user6@aol.com>; Tue, 3 Feb 2004 11:14:06 -0500 (EST)",
        "",
    ),
    (
        "from LOCALHOST by LOCALHOST with ESMTP id EF01F5A6A515A04D89C9B0461D36E7A4 Mon, 11 Sep 2006 11:41:10 -0500",
        "",
    ),
    (
        "from PRODWEB02LA by post.example.com (Merak 8.0.3) with SMTP id ACM38534 for <user7@example10.net>; Fri, 19 May 2006 14:50:48 -0700",
        "",
    ),
    (
        "from mta.example.org by example12.com (example13.net.v203.0.113.1) with ASMTP id AYT39007; Mon, 22 May 2006 15:49:07 -0400",
        "",
    ),
    ("from Spooler by box.example.org (Mercury/32 v4.01a) ID MO0072A1; 5 Jun 2006 11:50:08 -0400", ""),
    (
        "from [Masked] by dsl.example.com with ESMTP id lxalvkca for user7@example10.net; Fri, 8 Sep 2006 17:21:46 -0400",
        "",
    ),
    (
        "from user8@example16.net by cable.example.org by uid 502 with qmail-scanner-1.20 (clamuko: 0.65. f-prot: 4.2.0/3.13.4.  Clear:RC:0(192.0.2.2):.  Processed in 0.212322 secs); 03 Mar 2004 20:34:39 -0000",
        "",
    ),
    (
        "from amavis by example18.com with scanned-ok (Exim 3.35 #1 (Debian)) id 1FiWc9-0007Du-00 for <user9@lists.sourceforge.net>; Tue, 23 May 2006 15:07:57 +0200",
        "",
    ),
    (
        "from front.example.net by mx1.example.org (iPlanet Messaging Server 5.2 HotFix 2.07 (built Jun 24 2005)) id <user10@mx1.example.org> for user7@example10.net; Mon, 05 Jun 2006 16:02:40 -0400 (EDT)",
        "",
    ),
    (
        "from chplds004 by relay1.example.com (8.11.6p3/8.10.1) with ESMTP id k7IHGfA114538 for <user7@example10.net>; Fri, 18 Aug 2006 12:16:41 -0500",
        "",
    ),
    (
        "from out1.example.net by smtp1.example.org (Sun Java System Messaging Server 6.2-4.02 (built Sep  9 2005)) id <user11@smtp1.example.org> (original mail from user12@example25.net) for user13@example26.org; Mon, 22 May 2006 11:23:41 -0700 (PDT)",
        "",
    ),
    (
        "from gb02qws092els27 by node1.example.com (8.12.10/8.9.3/USFo1.0) with ESMTP id k7UDHtrV057626 for <user7@example10.net>; Wed, 30 Aug 2006 13:17:58 GMT",
        "",
    ),
    ("from hub1.example.net by CSKMAIL1; 29 Aug 2006 11:02:05 -0700", ""),
    (
        "from localhost (user14@localhost) by post1.example.org (8.9.3p2/8.9.3) with ESMTP id QAA13555 for <user15@example30.com>; Mon, 8 Mar 2004 16:07:35 -0800 (PST)",
        "",
    ),
    (
        "from localhost [127.0.0.1] by localhost with IMAP (fetchmail-6.2.4) for user16@localhost (single-drop); Mon, 08 Mar 2004 16:02:50 -0800 (PST)",
        "",
    ),
    (
        "from localhost [127.0.0.1] by localhost with IMAP (fetchmail-6.2.4) for user15@localhost (single-drop); Mon, 08 Mar 2004 16:13:23 -0800 (PST)",
        "",
    ),
    (
        "from localhost by mta1.example.net (Linux 2.6) with ESMTP (8.13.6/8.13.4) id k4JNjENG010334 for <user17@example32.org>; Fri, 19 May 2006 16:45:14 -0700",
        "",
    ),
    (
        "from localhost by lan1.example.com with SpamAssassin (version 3.0.2); Thu, 17 Aug 2006 08:21:10 +1000",
        "",
    ),
    (
        "from mail by box1.example.net with ctyme-spam-scanned (Exim 4.51) id 1DnPTU-0006bL-UT for user18@example35.org; Tue, 28 Jun 2005 16:26:44 -0700",
        "",
    ),
    ("from mail pickup service by hotmail.com with Microsoft SMTPSVC; Tue, 16 Mar 2004 18:12:31 -0800", ""),
    ("from mailer  by pool1.example.com with HTTP (Mail); Mon, 14 Aug 2006 14:20:13 -0700", ""),
    (
        "from cable1.example.net by host1.example.org (iPlanet Messaging Server 5.2 HotFix 2.05 (built Mar  3 2005)) id <user19@host1.example.org> for user17@example32.org; Sun, 28 May 2006 00:03:13 -0500 (CDT)",
        "",
    ),
    (
        "from pop.vip.sc5.yahoo.com [198.51.100.2] by localhost with POP3 (fetchmail-5.9.13) for user20@example39.com (single-drop); Sun, 22 Feb 2004 20:46:25 -0600 (CST)",
        "",
    ),
    (
        "from mx2.example.net with LMTP by senmail2 (3.0.2/sieved-3-0-build-942) for <user7@example10.net>; Fri, 30 Jun 2006 10:58:41 -0400",
        "",
    ),
    ("from example41.org by out2.example.com with SMTP; Fri, 1 Sep 2006 10:56:21 -0400", ""),
    ("from spooler by box.example.org (Mercury/32 v4.01a); 5 Jun 2006 11:44:13 -0400", ""),
    (
        "from smtp2.example.net by web2.example.org (MDaemon PRO v9.0.1) with ESMTP id example45.com for <user7@example10.net>; Mon, 19 Jun 2006 11:50:20 -0400",
        "",
    ),
    (
        "from desk2.example.net (unverified) by node2.example.org (Clearswift SMTPRS 5.1.7) with ESMTP id <user21@node2.example.org> for <user17@hub2.example.com>; Tue, 30 May 2006 15:56:15 +0100",
        "",
    ),
    (
        "from [203.0.113.2] (account user22@example49.net) by edge2.example.org (CommuniGate Pro XIMSS 5.2.16) with HTTPU id 87581547 for user22@example51.com; Thu, 19 Nov 2009 20:08:10 -0500",
        "ip=203.0.113.2 rdns= helo= by=edge2.example.org ident= envfrom= id=87581547 auth=HTTPU msa=0",
    ),
    (
        "from gorkcomputer (in2.example.net [203.0.113.2]) (AUTH: LOGIN user23@example53.org, SSL: TLSv1/SSLv3,128bits,RC4-MD5) by example53.org with esmtp; Thu, 10 Nov 2005 08:24:21 -0600 id 000000DB.43735815.00001E11",
        "ip=203.0.113.2 rdns=in2.example.net helo=gorkcomputer by=example53.org ident= envfrom= id=000000DB.43735815.00001E11 auth=LOGIN msa=0",
    ),
    (
        "from box2.example.com (dsl2.example.net) [10.0.8.6.13219] (mail) by pool2.example.org with esmtp (Exim 3.35 #1 (Debian)) id 1CO5y7-0001vC-00; Sun, 31 Oct 2004 04:01:23 +0100",
        "ip=10.0.8.6 rdns=box2.example.com helo=dsl2.example.net by=pool2.example.org ident= envfrom= id=1CO5y7-0001vC-00 auth= msa=0",
    ),
    (
        "from 10.165.130.62 by desk.example.com (SMTPL release 1.0d) with TCP; Fri, 1 Sep 2006 20:28:14 -0400",
        "ip=10.165.130.62 rdns= helo= by=desk.example.com ident= envfrom= id= auth= msa=0",
    ),
    (
        "from cable2.example.com (LHLO host2.example.net) (10.2.2.20) by front2.example.org with LMTP; Thu, 18 Jun 2015 16:50:56 -0700 (PDT)",
        "ip=10.2.2.20 rdns=cable2.example.com helo=host2.example.net by=front2.example.org ident= envfrom= id= auth= msa=0",
    ),
    (
        "from [127.0.0.1] ([127.0.0.1:50024]) by mx3.example.com (ecelerity 192.0.2.3 r(12431)) with ECSTREAM id 10/BD-03444-F4DB6054 for <user7@example10.net>; Tue, 12 Sep 2006 09:59:43 -0400",
        "ip=127.0.0.1 rdns= helo= by=mx3.example.com ident= envfrom= id=10/BD-03444-F4DB6054 auth= msa=0",
    ),
    (
        "from relay3.example.net (relay3.example.net [127.0.0.1]) (using TLSv1 with cipher DHE-RSA-AES256-SHA (256/256 bits)) (Client did not present a certificate) (Authenticated sender: out3.example.org) by smtp3.example.com (Postfix) with ESMTP id 44A8959ED6B0 for <user24@example49.net>; Fri, 30 Jun 2006 08:02:00 +0100 (BST)",
        "ip=127.0.0.1 rdns=relay3.example.net helo=relay3.example.net by=smtp3.example.com ident= envfrom= id=44A8959ED6B0 auth=Postfix msa=0",
    ),
    (
        "from SpamControl_operated_by_INetSiteWorld (localhost [127.0.0.1]) by web3.example.net (8.12.9/8.12.7-jokey) with ESMTP id i28CNuck014319 for <user25@example65.org>; Mon, 8 Mar 2004 13:23:57 +0100",
        "ip=127.0.0.1 rdns=localhost helo=SpamControl_operated_by_INetSiteWorld by=web3.example.net ident= envfrom= id=i28CNuck014319 auth= msa=0",
    ),
    (
        "from desk3.example.com (localhost [127.0.0.1])by  localhost.technodiva.com (Postfix) with ESMTP id 846CF2117for  <user9@lists.sourceforge.net>; Mon,  7 Aug 2006 17:48:07 +0200 (MEST)",
        "ip=127.0.0.1 rdns=localhost helo=desk3.example.com by=localhost.technodiva.com ident= envfrom= id=846CF2117for auth= msa=0",
    ),
    (
        "from [198.51.100.3] (account user22@example67.net) by hub3.example.org (CommuniGate Pro WebUser 4.3.7) with HTTP id 109780632 for user22@example67.net; Tue, 05 Dec 2006 11:17:51 -0800",
        "ip=198.51.100.3 rdns= helo= by=hub3.example.org ident= envfrom= id=109780632 auth=HTTP msa=0",
    ),
    (
        "from [198.51.100.3] (account user22@example67.net HELO [10.10.10.10]) by post3.example.com (CommuniGate Pro SMTP 4.3.7) with ESMTPSA id 88402416 for user22@example67.net; Mon, 04 Dec 2006 13:15:07 -0800",
        "ip=198.51.100.3 rdns= helo=!10.10.10.10! by=post3.example.com ident= envfrom= id=88402416 auth=ESMTPSA msa=0",
    ),
    (
        "from post1.example.org (post1.example.org [203.0.113.3]) by edge3.example.net (8.12.8/8.12.8) with ESMTP id i2907ZaF008726 for <user15@example30.com>; Mon, 8 Mar 2004 16:07:35 -0800",
        "ip=203.0.113.3 rdns=post1.example.org helo=post1.example.org by=edge3.example.net ident= envfrom= id=i2907ZaF008726 auth= msa=0",
    ),
    (
        "from edge3.example.net (edge3.example.net [192.0.2.4]) by mta3.example.org (Postfix) with ESMTP id 87D0A310091 for <user15@example30.com>; Tue,  9 Mar 2004 00:07:59 +0000 (GMT)",
        "ip=192.0.2.4 rdns=edge3.example.net helo=edge3.example.net by=mta3.example.org ident= envfrom= id=87D0A310091 auth= msa=0",
    ),
    (
        "from (198.51.100.4) by in3.example.com via smtp id 021b_7e19a55a_ea7e_11da_83a9_00304811e63a; Tue, 23 May 2006 13:06:35 -0400",
        "ip=198.51.100.4 rdns= helo= by=in3.example.com ident= envfrom= id=021b_7e19a55a_ea7e_11da_83a9_00304811e63a auth= msa=0",
    ),
    (
        "from  [203.0.113.4] (HELO example49.net) by smtp-gw138.mailanyone.net with esmtp (MailAnyone incSMTP Exim) id f138m939701uh17Yipk65; Fri, 04 Dec 2009 09:15:01 -0600",
        "ip=203.0.113.4 rdns= helo=example49.net by=smtp-gw138.mailanyone.net ident= envfrom= id=f138m939701uh17Yipk65 auth= msa=0",
    ),
    (
        "FROM lan3.example.net (box3.example.org [192.0.2.5]) BY dsl3.example.com ID 434B508E.174A6.13932 ; 11 Oct 2005 01:41:34 -0400",
        "ip=192.0.2.5 rdns=box3.example.org helo=lan3.example.net by=dsl3.example.com ident= envfrom= id=434B508E.174A6.13932 auth= msa=0",
    ),
    (
        "from pool3.example.net ([198.51.100.5]) (SquirrelMail authenticated user hoolis); by cable3.example.org with HTTP; Mon, 22 Mar 2004 12:54:13 -0600 (CST)",
        "ip=198.51.100.5 rdns= helo= by=cable3.example.org ident= envfrom= id= auth=HTTP msa=0",
    ),
    (
        "from unknown (HELO ?203.0.113.5?) (user26@user27@203.0.113.5) by front3.example.net with SMTP; 28 Jan 2013 21:50:51 +0100",
        "ip=203.0.113.5 rdns= helo=?203.0.113.5? by=front3.example.net ident=user26@user27 envfrom= id= auth= msa=0",
    ),
    (
        "from 192.0.2.6        (SquirrelMail authenticated user admin); by mx4.example.org with HTTP;        Thu, 23 Sep 2004 14:35:29 -0600 (MDT)",
        "ip=192.0.2.6 rdns= helo= by=mx4.example.org ident= envfrom= id= auth=HTTP msa=0",
    ),
    (
        "from smtp.example.com (HELO relay4.example.com) (198.51.100.1) by relay.example.net with (DHE-RSA-AES256-SHA encrypted) SMTP; 6 Feb 2005 21:11:37 -0000",
        "ip=198.51.100.1 rdns=smtp.example.com helo=relay4.example.com by=relay.example.net ident= envfrom= id= auth= msa=0",
    ),
    (
        "from out4.example.net ([198.51.100.6]) by smtp4.example.org with Microsoft SMTPSVC(5.0.2195.6624); Thu, 6 Mar 2003 12:02:35 -0800",
        "ip=198.51.100.6 rdns= helo=out4.example.net by=smtp4.example.org ident= envfrom= id= auth= msa=0",
    ),
    (
        "from web4.example.com ([203.0.113.6]) by gate4.example.net with esmtp (TLSv1:DES-CBC3-SHA:168) (Exim 4.41) id 1CIusZ-00049K-45 for user28@desk4.example.org; Sat, 16 Oct 2004 21:10:16 +0100",
        "ip=203.0.113.6 rdns=web4.example.com helo=web4.example.com by=gate4.example.net ident= envfrom= id=1CIusZ-00049K-45 auth= msa=0",
    ),
    (
        "from node4.example.com (node4.example.com [192.0.2.7]) by mta3.example.org (Postfix) with SMTP id 0ACFC31014D for <user16@example88.net>; Mon,  8 Mar 2004 23:59:19 +0000 (GMT)",
        "ip=192.0.2.7 rdns=node4.example.com helo=node4.example.com by=mta3.example.org ident= envfrom= id=0ACFC31014D auth= msa=0",
    ),
    (
        "from  ([172.16.1.78]) by post4.example.org with Microsoft SMTPSVC(5.0.2195.6713); Wed, 6 Sep 2006 21:14:29 -0400",
        "ip=172.16.1.78 rdns= helo= by=post4.example.org ident= envfrom= id= auth= msa=0",
    ),
    (
        "from ([172.21.2.10]) by edge4.example.com with ESMTP  id 4420961.8281; Tue, 22 Aug 2006 17:53:08 -0400",
        "ip=172.21.2.10 rdns= helo= by=edge4.example.com ident= envfrom= id=4420961.8281 auth= msa=0",
    ),
    (
        "from MARISELA (mta4.example.net [198.51.100.7] (may be forged)) (authenticated bits=0) by in4.example.org (8.13.8/8.13.8) with ESMTP id kB3G26P6019032 for <user29@lan4.example.com>; Sun, 3 Dec 2006 10:02:16 -0600 (CST)",
        "ip=198.51.100.7 rdns=mta4.example.net helo=MARISELA by=in4.example.org ident= envfrom= id=kB3G26P6019032 auth=Sendmail msa=0",
    ),
    (
        "from ([192.168.1.205:50387] helo=box4.example.net) by dsl4.example.org (ecelerity 203.0.113.7 r(11743)) with ESMTP id 80/0A-02454-4DCB6054 for <user7@example10.net>; Tue, 12 Sep 2006 09:57:40 -0400",
        "ip=192.168.1.205 rdns= helo=box4.example.net by=dsl4.example.org ident= envfrom= id=80/0A-02454-4DCB6054 auth= msa=0",
    ),
    (
        "from example96.com (unknown [192.168.50.50]) by cable4.example.net (Postfix) with ESMTP id 62F9114047; Sun, 15 Feb 2004 14:29:04 -0500 (EST)",
        "ip=192.168.50.50 rdns= helo=example96.com by=cable4.example.net ident= envfrom= id=62F9114047 auth= msa=0",
    ),
    (
        "from host4.example.org (host4.example.org [192.0.2.8]) (using TLSv1 with cipher DHE-RSA-AES256-SHA (256/256 bits)) (No client certificate requested) by front4.example.com (Postfix) with ESMTP id 23587284EE for <user30@example100.net>; Sat, 16 Oct 2004 23:32:19 +0000 (UTC) (envelope-from user31@example101.org)",
        "ip=192.0.2.8 rdns=host4.example.org helo=host4.example.org by=front4.example.com ident= envfrom=user31@example101.org id=23587284EE auth= msa=0",
    ),
    (
        "from out5.example.com (out5.example.com [IPv6:2001:4f8:3:bb::25])       (using TLSv1 with cipher DHE-RSA-AES256-SHA (256/256 bits))        (No client certificate requested)  by front4.example.com (Postfix) with ESMTP id C986F284EE       for <user32@example30.com>; Sat, 16 Oct 2004 21:30:02 +0000 (UTC) (envelope-from user33@example100.net)",
        "ip=2001:4f8:3:bb::25 rdns=out5.example.com helo=out5.example.com by=front4.example.com ident= envfrom=user33@example100.net id=C986F284EE auth= msa=0",
    ),
    (
        "from smtp5.example.net(198.51.100.8) via SMTP by web5.example.org, id smtpdEDUB8h; Sun Nov 13 14:50:12 2005",
        "ip=198.51.100.8 rdns=smtp5.example.net helo= by=web5.example.org ident= envfrom= id=smtpdEDUB8h auth= msa=0",
    ),
    (
        "from [203.0.113.8] (helo=example105.com) by desk5.example.net with ESMTP (Nemesis), id 0MKpdM-1CkRpr14PF-000608; Fri, 31 Dec 2004 19:49:15 +0100",
        "ip=203.0.113.8 rdns= helo=example105.com by=desk5.example.net ident= envfrom= id=0MKpdM-1CkRpr14PF-000608 auth= msa=0",
    ),
    (
        "from node5.example.org (HELO hub5.example.com) (user34@192.0.2.9) by post5.example.net with SMTP; 10 Nov 2003 06:30:34 -0000",
        "ip=192.0.2.9 rdns=node5.example.org helo=hub5.example.com by=post5.example.net ident=user34 envfrom= id= auth= msa=0",
    ),
    (
        "from 198.51.100.9  (EHLO ) (198.51.100.9) by mta232.mail.scd.yahoo.com with SMTP; Sun, 25 Jan 2004 00:24:37 -0800",
        "ip=198.51.100.9 rdns=198.51.100.9 helo= by=mta232.mail.scd.yahoo.com ident= envfrom= id= auth= msa=0",
    ),
    (
        "from 203.0.113.9 ([203.0.113.9] helo=blackstar) by SpamControl_operated_by_INetSiteWorld ;  8 Mar 04 12:23:56 -0000",
        "ip=203.0.113.9 rdns= helo=blackstar by=SpamControl_operated_by_INetSiteWorld ident= envfrom= id= auth= msa=0",
    ),
    (
        "from edge5.example.org (192.0.2.10) by post5.example.net with SMTP; 16 Nov 2003 04:53:54 -0000",
        "ip=192.0.2.10 rdns=edge5.example.org helo=edge5.example.org by=post5.example.net ident= envfrom= id= auth= msa=0",
    ),
    (
        "from [198.51.100.10] (account user35@mta5.example.com HELO in5.example.net) by lan5.example.org (CommuniGate Pro SMTP 5.1.13) with ESMTPSA id 9830625 for user36@mta5.example.com; Mon, 07 Apr 2008 08:42:48 +0700",
        "ip=198.51.100.10 rdns= helo=in5.example.net by=lan5.example.org ident= envfrom= id=9830625 auth=ESMTPSA msa=0",
    ),
    (
        "from [203.0.113.10] (203.0.113.10) by box5.example.com (7.0.027) (authenticated as user37@example115.net) id 416A525B0000A53B for user38@example116.org; Mon, 11 Oct 2004 12:52:46 +0200",
        "ip=203.0.113.10 rdns= helo=!203.0.113.10! by=box5.example.com ident= envfrom= id=416A525B0000A53B auth=CriticalPath msa=0",
    ),
    (
        "from cable5.example.com ([192.0.2.11] verified) by lan5.example.org (CommuniGate Pro SMTP 5.1.13) with ESMTPS id 9837783 for user39@host5.example.net; Tue, 08 Apr 2008 13:14:35 +0700",
        "ip=192.0.2.11 rdns=cable5.example.com helo=cable5.example.com by=lan5.example.org ident= envfrom= id=9837783 auth= msa=0",
    ),
    (
        "from unknown (HELO feux01a-isp) (198.51.100.11) by post5.example.net with SMTP; 1 Nov 2003 07:05:19 -0000",
        "ip=198.51.100.11 rdns= helo=feux01a-isp by=post5.example.net ident= envfrom= id= auth= msa=0",
    ),
    (
        "from front5.example.org (user40@203.0.113.11) by post5.example.net with SMTP; 14 Nov 2003 08:05:50 -0000",
        "ip=203.0.113.11 rdns=front5.example.org helo=front5.example.org by=post5.example.net ident=user40 envfrom= id= auth= msa=0",
    ),
    (
        "from front5.example.org (user40@192.0.2.12) by post5.example.net with SMTP; 14 Nov 2003 08:05:50 -0000",
        "ip=192.0.2.12 rdns=front5.example.org helo=front5.example.org by=post5.example.net ident=user40 envfrom= id= auth= msa=0",
    ),
    (
        "from front5.example.org (198.51.100.12) by post5.example.net with SMTP; 14 Nov 2003 08:31:29 -0000",
        "ip=198.51.100.12 rdns=front5.example.org helo=front5.example.org by=post5.example.net ident= envfrom= id= auth= msa=0",
    ),
    (
        "from front5.example.org (user40@203.0.113.12) by post5.example.net with SMTP; 14 Nov 2003 08:31:29 -0000",
        "ip=203.0.113.12 rdns=front5.example.org helo=front5.example.org by=post5.example.net ident=user40 envfrom= id= auth= msa=0",
    ),
    (
        "from unknown (HELO mx6.example.com) (user40@192.0.2.13) by post5.example.net with SMTP; 14 Nov 2003 08:31:29 -0000",
        "ip=192.0.2.13 rdns= helo=mx6.example.com by=post5.example.net ident=user40 envfrom= id= auth= msa=0",
    ),
    (
        "from unknown (HELO mx6.example.com) (198.51.100.13) by post5.example.net with SMTP; 14 Nov 2003 08:31:29 -0000",
        "ip=198.51.100.13 rdns= helo=mx6.example.com by=post5.example.net ident= envfrom= id= auth= msa=0",
    ),
    (
        "from front5.example.org (HELO mx6.example.com) (user40@203.0.113.13) by post5.example.net with SMTP; 14 Nov 2003 08:31:29 -0000",
        "ip=203.0.113.13 rdns=front5.example.org helo=mx6.example.com by=post5.example.net ident=user40 envfrom= id= auth= msa=0",
    ),
    (
        "from web3.example.net (web3.example.net [192.0.2.14]) by relay6.example.net (8.12.10/8.12.10) with SMTP id i28CUmST012272 for <user25@example65.org>; Mon, 8 Mar 2004 07:30:48 -0500",
        "ip=192.0.2.14 rdns=web3.example.net helo=web3.example.net by=relay6.example.net ident= envfrom= id=i28CUmST012272 auth= msa=0",
    ),
    (
        "from out6.example.org ([198.51.100.14]:60178 helo=smtp6.example.com) by web6.example.net (envelope-from <user41@example125.org>) with esmtps (TLS-1.0:DHE_RSA_3DES_EDE_CBC_SHA:24) (Exim 4.50) id 1H3KFP-0005pI-08 for user42@example126.com; Sat, 06 Jan 2007 23:42:55 +0100",
        "ip=198.51.100.14 rdns=out6.example.org helo=smtp6.example.com by=web6.example.net ident= envfrom=user41@example125.org id=1H3KFP-0005pI-08 auth= msa=0",
    ),
    (
        "from tthompson ([203.0.113.14] unverified) by node6.example.net with Microsoft SMTPSVC(5.0.2195.5329); Tue, 11 Mar 2003 13:23:01 +0000",
        "ip=203.0.113.14 rdns= helo=tthompson by=node6.example.net ident= envfrom= id= auth= msa=0",
    ),
    (
        "from hub6.example.org ([::ffff:192.0.2.15]) by post6.example.com with esmtp; Mon, 18 Aug 2003 15:37:48 +0300",
        "ip=192.0.2.15 rdns= helo=hub6.example.org by=post6.example.com ident= envfrom= id= auth= msa=0",
    ),
    (
        "from example130.net (unknown [198.51.100.15]) by mta6.example.org (Postfix) with SMTP id CE1BA416F20 for <user43@example130.net>; Mon,  1 Mar 2004 13:11:31 -0500 (EST)",
        "ip=198.51.100.15 rdns= helo=example130.net by=mta6.example.org ident= envfrom= id=CE1BA416F20 auth= msa=0",
    ),
    (
        "from example132.com (unknown [203.0.113.15]) by mta6.example.org (Postfix) with ESMTP id 33DC4416F20 for <user43@example130.net>; Mon,  1 Mar 2004 01:09:44 -0500 (EST)",
        "ip=203.0.113.15 rdns= helo=example132.com by=mta6.example.org ident= envfrom= id=33DC4416F20 auth= msa=0",
    ),
    (
        "from xjwrvjq (unknown [192.0.2.16]) by mta6.example.org (Postfix) with SMTP id ED474416F20 for <user43@mta6.example.org>; Tue,  2 Mar 2004 12:51:44 -0500",
        "ip=192.0.2.16 rdns= helo=xjwrvjq by=mta6.example.org ident= envfrom= id=ED474416F20 auth= msa=0",
    ),
    (
        "from 198.51.100.16 by by1fd.bay1.hotmail.msn.com with HTTP; Wed, 17 Mar 2004 02:12:31 GMT",
        "ip=198.51.100.16 rdns= helo= by=by1fd.bay1.hotmail.msn.com ident= envfrom= id= auth=HTTP msa=0",
    ),
    (
        "from a1200 ([203.0.113.16]) (AUTH: LOGIN user44@example49.net) by lan6.example.net with esmtp; Tue, 06 Jan 2004 23:56:09 +0000",
        "ip=203.0.113.16 rdns= helo=a1200 by=lan6.example.net ident= envfrom= id= auth=LOGIN msa=0",
    ),
    (
        "from a1200 ([192.0.2.17]) (AUTH: LOGIN user44@example49.net) by lan6.example.net with esmtp; Tue, 06 Jan 2004 22:09:53 +0000",
        "ip=192.0.2.17 rdns= helo=a1200 by=lan6.example.net ident= envfrom= id= auth=LOGIN msa=0",
    ),
    (
        "from a1200 ([198.51.100.17]) (AUTH: LOGIN user44@example49.net) by lan6.example.net with esmtp; Tue, 06 Jan 2004 23:56:09 +0000",
        "ip=198.51.100.17 rdns= helo=a1200 by=lan6.example.net ident= envfrom= id= auth=LOGIN msa=0",
    ),
    (
        "from 203.0.113.17 by box6.example.org with HTTP; Wed, 28 Nov 2012 00:57:41 +0100 (CET)",
        "ip=203.0.113.17 rdns= helo= by=box6.example.org ident= envfrom= id= auth=HTTP msa=0",
    ),
    (
        r#"from dsl6.example.com(192.0.2.18), claiming to be "pool6.example.net" via SMTP by web5.example.org, id smtpd1PBsZT; Sun Nov 13 15:38:52 2005"#,
        "ip=192.0.2.18 rdns=dsl6.example.com helo=pool6.example.net by=web5.example.org ident= envfrom= id=smtpd1PBsZT auth= msa=0",
    ),
    (
        "from 0 ([198.51.100.18]) by cable6.example.org with Microsoft SMTPSVC(5.0.2195.6713); Tue, 21 Sep 2004 08:59:06 +0300",
        "ip=198.51.100.18 rdns= helo=0 by=cable6.example.org ident= envfrom= id= auth= msa=0",
    ),
    (
        "from 0 ([203.0.113.18] RDNS failed) by example138.com with Microsoft SMTPSVC(6.0.3790.0); Thu, 23 Sep 2004 08:51:06 -0700",
        "ip=203.0.113.18 rdns= helo=0 by=example138.com ident= envfrom= id= auth= msa=0",
    ),
    (
        "from front6.example.net (192.0.2.19:23198) by mx7.example.org with [XMail 1.20 ESMTP Server] id <S72E> for <user45@example141.com> from <user46@out7.example.net>; Sat, 18 Sep 2004 23:17:54 -0500",
        "ip=192.0.2.19 rdns= helo=front6.example.net by=mx7.example.org ident= envfrom=user46@out7.example.net id=S72E auth= msa=0",
    ),
    (
        "from front6.example.net ([192.0.2.19]:23198) by mx7.example.org with [XMail 1.20 ESMTP Server] id <S72E> for <user45@example141.com> from <user46@out7.example.net>; Sat, 18 Sep 2004 23:17:54 -0500",
        "ip=192.0.2.19 rdns= helo=front6.example.net by=mx7.example.org ident= envfrom=user46@out7.example.net id=S72E auth= msa=0",
    ),
    (
        "from smtp7.example.org ([63.251.66.24.63559]) by web7.example.com with esmtp  (v3.35.1) id 1GNrLz-000295-00; Thu, 14 Sep 2006 09:34:07 -0400",
        "ip=63.251.66.24 rdns= helo=smtp7.example.org by=web7.example.com ident= envfrom= id=1GNrLz-000295-00 auth= msa=0",
    ),
    (
        "from gate7.example.net (desk7.example.org [198.51.100.19] (may be forged)) by node7.example.com (8.13.1/8.13.1) with ESMTP id i8FJcSRZ007847 for <user47@example149.org>; Wed, 15 Sep 2004 21:38:31 +0200",
        "ip=198.51.100.19 rdns=desk7.example.org helo=gate7.example.net by=node7.example.com ident= envfrom= id=i8FJcSRZ007847 auth= msa=0",
    ),
    (
        "from imo-m01.mx.aol.com ([203.0.113.19] verified) by example150.com (CommuniGate Pro SMTP 4.1.8) with ESMTP id 875522 for user48@example150.com; Tue, 03 Feb 2004 08:37:38 -0800",
        "ip=203.0.113.19 rdns=imo-m01.mx.aol.com helo=imo-m01.mx.aol.com by=example150.com ident= envfrom= id=875522 auth= msa=0",
    ),
    (
        "FROM [192.168.1.24] (mta7.example.net [192.0.2.20]) BY lan3.example.net ID 434B5051.8CDE5.15436 ; 11 Oct 2005 01:40:33 -0400",
        "ip=192.0.2.20 rdns=mta7.example.net helo=!192.168.1.24! by=lan3.example.net ident= envfrom= id=434B5051.8CDE5.15436 auth= msa=0",
    ),
    (
        "from in7.example.org (softdnserr [::ffff:198.51.100.20]) by post6.example.com with esmtp; Sun, 17 Aug 2003 19:30:42 +0300",
        "ip=198.51.100.20 rdns= helo=in7.example.org by=post6.example.com ident= envfrom= id= auth= msa=0",
    ),
    (
        "from [203.0.113.20] (HELO example153.com) by box7.example.net (CommuniGate Pro SMTP 5.1.3) with SMTP id 19467966 for user49@example155.org; Fri, 08 Dec 2006 08:40:46 -0800",
        "ip=203.0.113.20 rdns= helo=example153.com by=box7.example.net ident= envfrom= id=19467966 auth= msa=0",
    ),
    (
        "from hotmail.com (bay1-f95.bay1.hotmail.com [192.0.2.21]) by pool7.example.com;",
        "ip=192.0.2.21 rdns=bay1-f95.bay1.hotmail.com helo=hotmail.com by=pool7.example.com ident= envfrom= id= auth= msa=0",
    ),
    (
        "from hotmail.com (example157.net [192.0.2.21]) at just after 10pm by pool7.example.com on a Friday (CrazyMTA) (envelope-from <user50@example49.net>) with TFTP",
        "ip=192.0.2.21 rdns=example157.net helo=hotmail.com by=pool7.example.com ident= envfrom=user50@example49.net id= auth= msa=0",
    ),
    (
        "from example158.org ([198.51.100.21]) by front7.example.com (8.12.8/8.12.8) with SMTP id k1SCIR87017358; Tue, 28 Feb 2006 06:18:27 -0600",
        "ip=198.51.100.21 rdns= helo=example158.org by=front7.example.com ident= envfrom= id=k1SCIR87017358 auth= msa=0",
    ),
    (
        "from mx8.example.net (203.0.113.21) by post5.example.net with SMTP; 16 Nov 2003 05:59:32 -0000",
        "ip=203.0.113.21 rdns=mx8.example.net helo=mx8.example.net by=post5.example.net ident= envfrom= id= auth= msa=0",
    ),
    (
        "from lan6.example.net ([192.0.2.22]) by relay8.example.org with esmtp; Tue, 06 Jan 2004 23:56:09 +0000",
        "ip=192.0.2.22 rdns= helo=lan6.example.net by=relay8.example.org ident= envfrom= id= auth= msa=0",
    ),
    (
        "from lan6.example.net (out8.example.com [198.51.100.22]) by smtp8.example.net (8.12.10/8.12.10) with ESMTP id i06MBJ6U020255 for <user51@example67.net>; Tue, 6 Jan 2004 16:11:19 -0600",
        "ip=198.51.100.22 rdns=out8.example.com helo=lan6.example.net by=smtp8.example.net ident= envfrom= id=i06MBJ6U020255 auth= msa=0",
    ),
    (
        "from [10.10.10.215] (web8.example.org [203.0.113.22]) (authenticated bits=0) by example165.com (8.12.3/8.12.3/Debian-6.6) with ESMTP id i46MehGO005108 for <user52@example166.net>; Thu, 6 May 2004 17:40:44-0500",
        "ip=203.0.113.22 rdns=web8.example.org helo=!10.10.10.215! by=example165.com ident= envfrom= id=i46MehGO005108 auth=Sendmail msa=0",
    ),
    (
        "from node8.example.org ([192.0.2.23] helo=hub8.example.com) by sc8-sf-mx1.sourceforge.net with esmtp (TLSv1:AES256-SHA:256) (Exim 4.41) id 1CIlfc-0003Pa-8W for user53@lists.sourceforge.net; Sat, 16 Oct 2004 03:20:18 -0700",
        "ip=192.0.2.23 rdns=node8.example.org helo=hub8.example.com by=sc8-sf-mx1.sourceforge.net ident= envfrom= id=1CIlfc-0003Pa-8W auth= msa=0",
    ),
    (
        "from 198.51.100.23 (NaSMail authenticated user example169.net) by edge2.example.org with HTTP; Fri, 30 Mar 2012 12:39:58 +0100 (BST)",
        "ip=198.51.100.23 rdns= helo= by=edge2.example.org ident= envfrom= id= auth=HTTP msa=0",
    ),
    (
        "from ([203.0.113.23:53798] helo=mta6.example.org) by edge8.example.org (ecelerity 2.1 r(10620)) with ESMTP id 5A/F0-04030-76FF6054 for <user54@mta8.example.com>; Tue, 12 Sep 2006 11:41:44 -0700",
        "ip=203.0.113.23 rdns= helo=mta6.example.org by=edge8.example.org ident= envfrom= id=5A/F0-04030-76FF6054 auth= msa=0",
    ),
    (
        "from in8.example.net ([192.0.2.24] helo=lan8.example.org) by box8.example.com with esmtpsa (TLSv1:RC4-SHA:128) (Exim 4.42) id 1CJic5-00067m-U7",
        "ip=192.0.2.24 rdns=in8.example.net helo=lan8.example.org by=box8.example.com ident= envfrom= id=1CJic5-00067m-U7 auth=esmtpsa msa=0",
    ),
    (
        "from dsl8.example.net (HELO ) (192.0.2.2) by cable.example.org with SMTP; 3 Mar 2004 20:34:38 -0000",
        "ip=192.0.2.2 rdns=dsl8.example.net helo= by=cable.example.org ident= envfrom= id= auth= msa=0",
    ),
    (
        "(from KRYPTIK [198.51.100.24]) by example176.org (NAVGW 203.0.113.24) with SMTP id M2006040415284308595 for <user22@cable8.example.com>; Tue, 04 Apr 2006 15:28:45 +0100",
        "ip=198.51.100.24 rdns= helo=KRYPTIK by=example176.org ident= envfrom= id=M2006040415284308595 auth= msa=0",
    ),
    (
        "from DPLAPTOP ( 192.0.2.25) by host8.example.net (Scalix SMTP Relay 10.0.1.3) via ESMTP; Fri, 23 Jun 2006 16:39:47 -0500 (CDT)",
        "ip=192.0.2.25 rdns= helo=DPLAPTOP by=host8.example.net ident= envfrom= id= auth= msa=0",
    ),
    (
        "from example179.org ([198.51.100.25] verified) by lan5.example.org (CommuniGate Pro SMTP 5.1.13) with ESMTPS id 9834928 for user36@mta5.example.com; Mon, 07 Apr 2008 22:49:05 +0700",
        "ip=198.51.100.25 rdns=example179.org helo=example179.org by=lan5.example.org ident= envfrom= id=9834928 auth= msa=0",
    ),
    (
        "from [203.0.113.25] (HELO mx9.example.com) by lan5.example.org (CommuniGate Pro SMTP 5.1.13) with SMTP id 9479501 for user39@relay9.example.net; Wed, 26 Dec 2007 18:33:28 +0600",
        "ip=203.0.113.25 rdns= helo=mx9.example.com by=lan5.example.org ident= envfrom= id=9479501 auth= msa=0",
    ),
    (
        "from [192.0.2.26] (HELO out9.example.org) by lan5.example.org (CommuniGate Pro SMTP 5.1.13) with ESMTP id 9837455 for user39@host5.example.net; Tue, 08 Apr 2008 12:12:52 +0700",
        "ip=192.0.2.26 rdns= helo=out9.example.org by=lan5.example.org ident= envfrom= id=9837455 auth= msa=0",
    ),
    (
        "from [198.51.100.26] (HELO smtp9.example.com) by lan5.example.org (CommuniGate Pro SMTP 5.1.13) with ESMTPS id 9843045 for user39@host5.example.net; Wed, 09 Apr 2008 02:31:33 +0700",
        "ip=198.51.100.26 rdns= helo=smtp9.example.com by=lan5.example.org ident= envfrom= id=9843045 auth= msa=0",
    ),
    (
        "from web9.example.net ([203.0.113.26]:11218 helo=sandpiper) by gate9.example.org with esmtp (TLSv1:RC4-SHA:128) (Exim 4.04) id 1CJaZW-0006rU-00 for user38@example116.org; Mon, 18 Oct 2004 18:41:23 +0200",
        "ip=203.0.113.26 rdns=web9.example.net helo=sandpiper by=gate9.example.org ident= envfrom= id=1CJaZW-0006rU-00 auth= msa=0",
    ),
    (
        "from desk9.example.com (user55@192.0.2.27) by post5.example.net with SMTP; 5 Nov 2003 23:18:42 -0000",
        "ip=192.0.2.27 rdns=desk9.example.com helo=desk9.example.com by=post5.example.net ident=user55 envfrom= id= auth= msa=0",
    ),
    (
        "from node9.example.net ([198.51.100.27]:52313) by web6.example.net with esmtps (TLS-1.0:DHE_RSA_3DES_EDE_CBC_SHA:24) (Exim 4.50) id 1GzVLs-0002Oz-7b for user56@example126.com; Wed, 27 Dec 2006 10:45:49 +0100",
        "ip=198.51.100.27 rdns=node9.example.net helo=node9.example.net by=web6.example.net ident= envfrom= id=1GzVLs-0002Oz-7b auth= msa=0",
    ),
    (
        "from [192.168.1.3] (hub9.example.org [203.0.113.27]) (authenticated bits=0) by example189.com (Xserve/smtpin08/MantshX 4.0) with ESMTP id i8NIdH8G002812 for ...",
        "ip=203.0.113.27 rdns=hub9.example.org helo=!192.168.1.3! by=example189.com ident= envfrom= id=i8NIdH8G002812 auth=Sendmail msa=0",
    ),
    (
        "from perceptions.couk.com (81.103.146.112) by n082.sc1.cp.net (7.0.030.2) (authenticated as r.dickenson) id 414B418B002D65F1 for forteana@yahoogroups.com; Thu, 23 Sep 2004 18:42:17 +0000",
        "ip=81.103.146.112 rdns=perceptions.couk.com helo=perceptions.couk.com by=n082.sc1.cp.net ident= envfrom= id=414B418B002D65F1 auth=CriticalPath msa=0",
    ),
    (
        "from box9.example.org (203.0.113.28) by dsl9.example.com (6.7.018) id 3FE6899B004FE7A4; Thu, 1 Jan 2004 05:28:49 +0100",
        "ip=203.0.113.28 rdns=box9.example.org helo=box9.example.org by=dsl9.example.com ident= envfrom= id=3FE6899B004FE7A4 auth= msa=0",
    ),
    (
        "from pool9.example.net (192.0.2.29) by cable9.example.org (7.0.028) (authenticated as example198.com) id 413489B100C9C1FD for user58@example65.org; Tue, 28 Sep 2004 21:43:43 +0200",
        "ip=192.0.2.29 rdns=pool9.example.net helo=pool9.example.net by=cable9.example.org ident= envfrom= id=413489B100C9C1FD auth=CriticalPath msa=0",
    ),
    (
        "from unknown (HELO [198.51.100.29]) ([198.51.100.29]) (envelope-sender <user59@example51.com>) by 203.0.113.29 (qmail-ldap-1.03) with SMTP for <user60@example199.net>; 28 Nov 2003 20:44:45 -0000",
        "ip=198.51.100.29 rdns= helo=!198.51.100.29! by=203.0.113.29 ident= envfrom=user59@example51.com id= auth= msa=0",
    ),
    (
        "from Minstrel ([192.0.2.30]) by mx10.example.org (InterMail vM.4.01.03.37 201-229-121-137-20020806) with ESMTP id <user61@Minstrel> for <user62@example202.net>; Sat, 20 Dec 2003 03:50:23 +0000",
        "ip=192.0.2.30 rdns= helo=Minstrel by=mx10.example.org ident= envfrom= id=user61@Minstrel auth= msa=0",
    ),
    (
        "from smtp10.example.org (web10.example.com [198.51.100.30]) by front5.example.org (Postfix) with ESMTP id 7BACDC372 for <user63@example205.net>; Fri, 14 Nov 2003 09:05:49 +0100 (CET)",
        "ip=198.51.100.30 rdns=web10.example.com helo=smtp10.example.org by=front5.example.org ident= envfrom= id=7BACDC372 auth= msa=0",
    ),
    (
        "from smtp10.example.org (web10.example.com [198.51.100.30]) by front5.example.org (Postfix) with ESMTP id 7BACDC372 for <user64@example205.net>; Fri, 14 Nov 2003 09:05:49 +0100 (CET)",
        "ip=198.51.100.30 rdns=web10.example.com helo=smtp10.example.org by=front5.example.org ident= envfrom= id=7BACDC372 auth= msa=0",
    ),
    (
        "from [10.0.0.253] (desk10.example.org [203.0.113.30]) (authenticated (0 bits)) by node10.example.com (8.11.6/8.11.6) with ESMTP id i8TAFAI25021 for <user17@hub2.example.com>; Wed, 29 Sep 2004 10:15:10 GMT",
        "ip=203.0.113.30 rdns=desk10.example.org helo=!10.0.0.253! by=node10.example.com ident= envfrom= id=i8TAFAI25021 auth=Sendmail msa=0",
    ),
    (
        "from hub10.example.net (post10.example.org [192.0.2.31]) (authenticated bits=0) by edge10.example.com (8.13.0.PreAlpha4/8.13.0.PreAlpha4) with ESMTP id i2U75jD1003350 for <user38@example116.org>; Tue, 30 Mar 2004 09:05:45 +0200 (MEST)",
        "ip=192.0.2.31 rdns=post10.example.org helo=hub10.example.net by=edge10.example.com ident= envfrom= id=i2U75jD1003350 auth=Sendmail msa=0",
    ),
    (
        "from 198.51.100.31 (mta10.example.net [203.0.113.31]) (authenticated bits=0) by in10.example.org (8.12.10/8.12.10) with ESMTP id i8ND9v0N017746 (version=TLSv1/SSLv3 cipher=RC4-MD5 bits=128 verify=NO) for <user65@example213.com>; Thu, 23 Sep 2004 15:09:59 +0200",
        "ip=203.0.113.31 rdns=mta10.example.net helo=198.51.100.31 by=in10.example.org ident= envfrom= id=i8ND9v0N017746 auth=Sendmail msa=0",
    ),
    (
        "from box10.example.net ([192.0.2.32] verified) by lan5.example.org (CommuniGate Pro SMTP 5.1.13) with ESMTPS id 9837912 for user39@host5.example.net; Tue, 08 Apr 2008 13:39:27 +0700",
        "ip=192.0.2.32 rdns=box10.example.net helo=box10.example.net by=lan5.example.org ident= envfrom= id=9837912 auth= msa=0",
    ),
    (
        "from mx.example.com (HELO ?192.168.23.32?) (192.0.2.1) by node4.example.com (qp 87263) with SMTP; 8 Mar 2004 23:59:05 -0000",
        "ip=192.0.2.1 rdns=mx.example.com helo=?192.168.23.32? by=node4.example.com ident= envfrom= id= auth= msa=0",
    ),
    (
        "from dsl10.example.org ([198.51.100.32] helo=192.168.1.23) by example216.com with asmtp (TLS-1.0:RSA_ARCFOUR_MD5:16) (Exim 4.34) id 1CIoQP-0006SN-GV for user38@example116.org; Sat, 16 Oct 2004 15:16:47 +0200",
        "ip=198.51.100.32 rdns=dsl10.example.org helo=192.168.1.23 by=example216.com ident= envfrom= id=1CIoQP-0006SN-GV auth=asmtp msa=0",
    ),
    (
        "from cable10.example.net (HELO JIMBOBSPC) (user22@203.0.113.32) by host10.example.org with ESMTPA; 23 May 2007 15:05:04 -0000",
        "ip=203.0.113.32 rdns=cable10.example.net helo=JIMBOBSPC by=host10.example.org ident=user22 envfrom= id= auth=ESMTPA msa=0",
    ),
    (
        "from [192.0.2.33] by front10.example.com; Thu, 2 Aug 2007 21:50:04 -0200",
        "ip=192.0.2.33 rdns= helo=!192.0.2.33! by=front10.example.com ident= envfrom= id= auth= msa=0",
    ),
    (
        "from [198.51.100.33] (HELO example220.net) by lan5.example.org (CommuniGate Pro SMTP 5.1.13) with ESMTPS id 9823077 for user39@host5.example.net; Fri, 04 Apr 2008 09:26:16 +0700",
        "ip=198.51.100.33 rdns= helo=example220.net by=lan5.example.org ident= envfrom= id=9823077 auth= msa=0",
    ),
    (
        "from ([203.0.113.33]) by relay11.example.org with MailEnable ESMTP; Tue, 20 Feb 2007 09:26:17 -0500",
        "ip=203.0.113.33 rdns= helo= by=relay11.example.org ident= envfrom= id= auth= msa=0",
    ),
    (
        "from [192.0.2.34] by out11.example.com (via HTTP); Tue, 11 Nov 2014 20:32:34 +0100",
        "ip=192.0.2.34 rdns= helo= by=out11.example.com ident= envfrom= id= auth=HTTP msa=0",
    ),
    (
        "from stgt-5f70f8a3.pool.mediaWays.net (EHLO user588a01834c) [95.112.248.163] by mail.gmx.net (mp033) with SMTP; 23 Nov 2012 19:06:20 +0100",
        "ip=95.112.248.163 rdns=stgt-5f70f8a3.pool.mediaWays.net helo=user588a01834c by=mail.gmx.net ident= envfrom= id= auth=GMX (SMTP / mail.gmx.net) msa=0",
    ),
    (
        "from a.example.com (a.example.com [192.0.2.1]) by mx.example.net with SMTP id 1 (return-path <>, envelope-from ., Return-Path: <b@example.com>)",
        "ip=192.0.2.1 rdns=a.example.com helo=a.example.com by=mx.example.net ident= envfrom=b@example.com id= auth= msa=0",
    ),
];
